"""Encoded pictures of cuts without files, and the rows of a backtest: equal to the plain way, kept, never stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from f1_predict import features
from f1_predict.config import Config, FeatureConfig
from f1_predict.errors import ArtefactError, HorizonError
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.training.cut_embeddings import embed_cuts
from f1_predict.training.cut_table import CutTable, build_cut_table, write_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.progress import Progress
from tests.small_tables import random_tables
from tests.training.stand_ins import CountingEncoder

CUTS = [
    ("2000_race_2", PreRace()),
    ("2000_race_2", AfterLap(4)),
    ("2000_race_4", AfterLap(6)),
    ("2001_race_1", PreRace()),
]


@pytest.fixture(scope="module")
def archive() -> RaceArchive:
    return RaceArchive(random_tables(3))


def embed(archive: RaceArchive, folder: Path, encoder: CountingEncoder, cuts=CUTS, progress=None):
    return embed_cuts(archive, cuts, SpeedTraceGenerator(), encoder, EmbeddingCache(folder), 4, progress)


class FewAtATime(CountingEncoder):
    """Works off `batch_size` pictures at a time, as a VisionEncoder does, and has room for two."""

    def encode_arrays(self, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
        self.rows_that_fit = 2
        parts = [
            super(FewAtATime, self).encode_arrays(part)
            for part in np.split(images, range(batch_size, len(images), batch_size))
        ]
        return np.concatenate(parts)


class TestEmbeddings:
    def test_they_are_those_of_the_pictures_drawn(self, archive: RaceArchive, tmp_path: Path) -> None:
        found = embed(archive, tmp_path, CountingEncoder())
        for cut, embedded in zip(CUTS, found, strict=True):
            traces = SpeedTraceGenerator().render(archive.snapshot(*cut))
            assert embedded.has_image.tolist() == traces.present.tolist()
            expected = CountingEncoder().encode_arrays(traces.images)
            expected[~traces.present] = 0.0
            np.testing.assert_array_equal(embedded.embeddings, expected)
        assert not all(part.has_image.all() for part in found), "a driver without laps is among them"
        assert sum(part.has_image.sum() for part in found) > 10

    def test_a_second_time_nothing_is_drawn_or_encoded(
        self, archive: RaceArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = embed(archive, tmp_path, CountingEncoder())
        monkeypatch.setattr(SpeedTraceGenerator, "render", None)
        encoder = CountingEncoder()
        again = embed(archive, tmp_path, encoder)
        assert encoder.encoded == 0
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one.embeddings, other.embeddings)
            assert one.has_image.tolist() == other.has_image.tolist()

    def test_changed_laps_are_encoded_again_and_later_ones_are_not_looked_at(
        self, archive: RaceArchive, tmp_path: Path
    ) -> None:
        cuts = [("2000_race_2", AfterLap(4))]
        embed(archive, tmp_path, CountingEncoder(), cuts)
        cut = archive.snapshot(*cuts[0])
        here = pl.col("race_id") == "2000_race_2"
        for known, expected in ((True, True), (False, False)):
            touched = here & ((pl.col("end_time_s") <= cut.cut_time_s) == known)
            laps = archive.tables.laps.with_columns(
                lap_time_s=pl.col("lap_time_s") + pl.when(touched).then(1.0).otherwise(0.0)
            )
            encoder = CountingEncoder()
            embed(RaceArchive(replace(archive.tables, laps=laps)), tmp_path, encoder, cuts)
            assert (encoder.encoded > 0) == expected

    def test_an_interruption_keeps_what_is_done(self, archive: RaceArchive, tmp_path: Path) -> None:
        def interrupt(progress: Progress) -> None:
            if progress.done >= 8:
                raise KeyboardInterrupt

        encoder = CountingEncoder()
        with pytest.raises(KeyboardInterrupt):
            embed(archive, tmp_path, encoder, progress=interrupt)
        again = CountingEncoder()
        found = embed(archive, tmp_path, again)
        assert encoder.encoded > 0
        assert encoder.encoded + again.encoded == sum(part.has_image.sum() for part in found)

    def test_smaller_batches_when_memory_runs_out(self, archive: RaceArchive, tmp_path: Path) -> None:
        usual = embed(archive, tmp_path / "a", CountingEncoder())
        tight = FewAtATime()
        found = embed(archive, tmp_path / "b", tight)
        assert max(tight.batches) == 2
        for one, other in zip(usual, found, strict=True):
            np.testing.assert_array_equal(one.embeddings, other.embeddings)

    def test_a_cut_that_is_not_reached(self, archive: RaceArchive, tmp_path: Path) -> None:
        with pytest.raises(HorizonError, match="nobody has completed lap 99 of 2000_race_2"):
            embed(archive, tmp_path, CountingEncoder(), [("2000_race_2", AfterLap(99))])


class TestTable:
    @pytest.fixture
    def table(self, archive: RaceArchive, tmp_path: Path) -> CutTable:
        cache = EmbeddingCache(tmp_path / "embeddings")
        write_cut_table(tmp_path / "rows", archive, CUTS, CUTS[1:3], CountingEncoder(), cache, Config())
        return CutTable.read(tmp_path / "rows")

    def test_rows_are_those_of_single_snapshots(self, archive: RaceArchive, table: CutTable) -> None:
        for number, (race_id, horizon) in enumerate(CUTS):
            snapshot = archive.snapshot(race_id, horizon)
            rows = table.rows_of(np.array([number]))
            built = features.build(snapshot).select(features.FEATURE_NAMES).to_numpy()
            np.testing.assert_array_equal(table.table[rows], built)
            np.testing.assert_array_equal(table.in_race[rows], features.in_race_values(snapshot))
            results = archive.rows("results", race_id)
            assert table.positions[rows].tolist() == results["position"].to_list()
            assert table.classified[rows].tolist() == results["classified"].to_list()
            assert table.cuts.row(number, named=True)["lap"] == snapshot.cutoff_lap

    def test_only_the_cuts_asked_for_have_pictures(self, archive: RaceArchive, table: CutTable, tmp_path: Path) -> None:
        drawn = embed(archive, tmp_path / "embeddings", CountingEncoder())
        for number, embedded in enumerate(drawn):
            rows = table.rows_of(np.array([number]))
            expected = embedded.has_image if number in (1, 2) else np.zeros_like(embedded.has_image)
            assert table.has_image(rows).tolist() == expected.tolist()
            np.testing.assert_array_equal(
                table.embeddings_of(rows), np.where(expected[:, None], embedded.embeddings, 0.0)
            )

    def test_rows_of_several_cuts_follow_the_order_asked_for(self, table: CutTable) -> None:
        one, two = table.rows_of(np.array([2])), table.rows_of(np.array([0]))
        assert table.rows_of(np.array([2, 0])).tolist() == [*one, *two]
        assert table.starters_of(np.array([2, 0])).tolist() == [len(one), len(two)]
        assert table.rows_of(np.array([], dtype=np.int64)).tolist() == []

    def test_races_without_results_have_no_labels(self, archive: RaceArchive) -> None:
        results = archive.tables.results.filter(pl.col("race_id") != "2001_race_1")
        table = build_cut_table(RaceArchive(replace(archive.tables, results=results)), CUTS, {}, 4, FeatureConfig())
        rows = table.rows_of(np.array([3]))
        assert set(table.positions[rows].tolist()) == {0}
        assert not table.classified[rows].any()
        assert (table.positions[table.rows_of(np.array([0]))] > 0).all()

    def test_what_is_there_is_not_made_again(self, archive: RaceArchive, table: CutTable, tmp_path: Path) -> None:
        encoder = CountingEncoder("another")
        write_cut_table(tmp_path / "rows", archive, CUTS, CUTS, encoder, EmbeddingCache(tmp_path / "e"), Config())
        assert encoder.encoded == 0

    def test_a_damaged_table_says_what_to_do(self, table: CutTable, tmp_path: Path) -> None:
        (tmp_path / "rows/positions.npy").write_bytes(b"no numbers")
        with pytest.raises(ArtefactError, match=r"rows: cannot be read .* Remove it; it is made again"):
            CutTable.read(tmp_path / "rows")

    def test_half_a_table_is_never_there(
        self, archive: RaceArchive, table: CutTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", full)
        with pytest.raises(ArtefactError, match=r"other: cannot be written \(No space left on device\)"):
            table.write(tmp_path / "other")
        assert not list(tmp_path.glob("*other*"))


def test_pictures_lost_before_they_are_looked_up_are_encoded_again(archive: RaceArchive, tmp_path: Path) -> None:
    """Somebody removes the cache's shards while its last pictures are encoded: no row is left with zeros."""
    encoder, removed = CountingEncoder(), []
    wanted = embed(archive, tmp_path / "other", CountingEncoder())

    class Losing(EmbeddingCache):
        def put(self, *arguments: Any) -> None:
            super().put(*arguments)
            if not removed:
                removed.extend(self.folder.rglob("*.safetensors"))
                for shard in removed:
                    shard.unlink()

    found = embed_cuts(archive, CUTS, SpeedTraceGenerator(), encoder, Losing(tmp_path / "cache"), 4)
    assert len(removed) == 1
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.embeddings, theirs.embeddings)
        np.testing.assert_array_equal(ours.has_image, theirs.has_image)
