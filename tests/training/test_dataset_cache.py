from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from f1_predict import features
from f1_predict.config import PictureConfig
from f1_predict.errors import ArtefactError, DataError, HorizonError, LabelError, NotFoundError, PictureError
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive
from f1_predict.models.multimodal_dataset import MultiModalDataset
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.probabilities import relative_position
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator, read_plot_area
from f1_predict.training import drawing
from f1_predict.training.dataset_cache import Cut, build_dataset_cache
from f1_predict.training.drawing import digest_of_inputs, draw_cuts, picture_inputs
from f1_predict.training.embeddings import EmbeddingCache, encode_dataset
from f1_predict.training.progress import Progress
from f1_predict.training.rows import LabelledRows, rows_from_dataset
from tests.small_tables import random_tables
from tests.training.stand_ins import CountingEncoder

SMALL = PictureConfig(width=200, height=160, plot_box=(20, 20, 128, 128), past_races=2)
CUTS: list[Cut] = [
    ("2000_race_2", PreRace(), "train"),
    ("2000_race_2", AfterLap(5), "train"),
    ("2000_race_3", PreRace(), "train"),  # the race without laps
    ("2001_race_1", AfterLap(2), "validation"),
]


@pytest.fixture(scope="module")
def archive() -> RaceArchive:
    return RaceArchive(random_tables(3))


def build(archive: RaceArchive, folder: Path, cuts: Sequence[Cut] = CUTS, **options: Any):
    generator = SpeedTraceGenerator(folder / "speed_traces", SMALL)
    return build_dataset_cache(archive, cuts, generator, folder / "dataset_cache.json", **options)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "dataset_cache.json").read_text())["metadata"]
    return rows


@pytest.fixture(scope="module")
def built(archive: RaceArchive, tmp_path_factory: pytest.TempPathFactory):
    """The dataset of CUTS, built in one go: its folder and summary."""
    folder = tmp_path_factory.mktemp("built")
    return folder, build(archive, folder)


def test_rows_hold_features_labels_and_pictures(archive: RaceArchive, built: Any) -> None:
    folder, summary = built
    content = json.loads((folder / "dataset_cache.json").read_text())
    assert content["feature_names"] == list(features.FEATURE_NAMES)
    assert content["leaks"] is False
    rows = content["metadata"]
    wanted = [
        (race_id, driver_id, horizon, split)
        for race_id, horizon, split in CUTS
        for driver_id in archive.rows("entries", race_id)["driver_id"]
    ]
    results = {
        (race_id, driver): (position, classified)
        for race_id, driver, position, classified in archive.tables.results.select(
            "race_id", "driver_id", "position", "classified"
        ).iter_rows()
    }
    assert summary.rows == len(rows) == len(wanted)
    for row, (race_id, driver_id, horizon, split) in zip(rows, wanted, strict=True):
        assert (row["race_id"], row["driver_id"], row["horizon"], row["split"]) == (
            race_id,
            driver_id,
            horizon.name,
            split,
        )
        assert (row["label"], row["finished"]) == results[race_id, driver_id]
        assert row["cutoff_lap"] == (horizon.lap if isinstance(horizon, AfterLap) else 0)
        assert row["n_starters"] == 8
        snapshot = archive.snapshot(race_id, horizon)
        own = features.build(snapshot).filter(pl.col("driver_id") == driver_id).select(features.FEATURE_NAMES)
        assert row["tabular_features"] == list(own.row(0))
    assert any(None in row["tabular_features"] for row in rows), "unknown is null"


def test_pictures_are_missing_where_there_are_no_laps_and_nowhere_else(archive: RaceArchive, built: Any) -> None:
    folder, summary = built
    seen = {True: 0, False: 0}
    for row in rows_of(folder):
        horizon: Horizon = next(h for r, h, _ in CUTS if r == row["race_id"] and h.name == row["horizon"])
        snapshot = archive.snapshot(row["race_id"], horizon)
        laps = snapshot.past.laps if isinstance(horizon, PreRace) else snapshot.laps
        has_laps = row["driver_id"] in set(laps["driver_id"])
        seen[has_laps] += 1
        assert (row["image_path"] is not None) == has_laps
        if has_laps:
            assert not Path(row["image_path"]).is_absolute()
            assert (folder / "speed_traces" / row["image_path"]).is_file()
    assert (summary.pictures, summary.missing_pictures) == (seen[True], seen[False])
    assert (summary.drawn, summary.without_laps, summary.failed) == (seen[True], seen[False], 0)
    assert summary.success_rate == 1.0
    assert summary.pictures_per_second > 0.0


def test_pictures_before_the_race_need_only_the_races_they_show(archive: RaceArchive, tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path, SMALL)
    for race_id, horizon in [("2001_race_2", PreRace()), ("2001_race_2", AfterLap(6)), ("2001_race_2", FullRace())]:
        snapshot = archive.snapshot(race_id, horizon)
        small = picture_inputs(snapshot, SMALL)
        whole, trimmed = generator.render(snapshot), generator.render(small)
        assert whole.driver_ids == trimmed.driver_ids
        np.testing.assert_array_equal(whole.present, trimmed.present)
        np.testing.assert_array_equal(whole.images, trimmed.images)
        assert small.past.results.is_empty()
        assert small.past.laps.height < snapshot.past.laps.height


def test_what_is_there_and_current_is_not_drawn_again(
    archive: RaceArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(archive, tmp_path)
    before = rows_of(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    monkeypatch.setattr(SpeedTraceGenerator, "write", lambda *_: pytest.fail("drawn again"))
    again = build(archive, tmp_path)
    assert (again.drawn, again.pictures, again.pictures_per_second) == (0, first.pictures, 0.0)
    assert rows_of(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == times


@pytest.mark.parametrize("damage", ["gone", "truncated", "marker"])
def test_a_cut_with_a_damaged_picture_is_drawn_again(archive: RaceArchive, tmp_path: Path, damage: str) -> None:
    cuts = CUTS[-1:]
    whole = build(archive, tmp_path, cuts)
    picture = tmp_path / "speed_traces" / next(row["image_path"] for row in rows_of(tmp_path) if row["image_path"])
    content = picture.read_bytes()
    if damage == "gone":
        picture.unlink()
    elif damage == "truncated":
        picture.write_bytes(content[:-10])
    else:
        (picture.parent / drawing.MARKER).write_text('{"digest": ')
    assert build(archive, tmp_path, cuts).drawn == whole.drawn
    assert picture.read_bytes() == content


def test_changed_laps_or_settings_are_drawn_again_and_others_are_not(archive: RaceArchive, tmp_path: Path) -> None:
    cuts = [(race_id, horizon) for race_id, horizon, _ in CUTS]
    generator = SpeedTraceGenerator(tmp_path, SMALL)
    digests = [digest_of_inputs(picture_inputs(archive.snapshot(*cut), SMALL), generator) for cut in cuts]
    assert len(set(digests)) == len(digests)

    def changed(name: str, race_id: str, column: str) -> list[bool]:
        def change(table: str, frame: pl.DataFrame) -> pl.DataFrame:
            if table != name:
                return frame
            here = pl.col("race_id") == race_id
            return frame.with_columns(pl.when(here).then(pl.col(column) + 1).otherwise(pl.col(column)).alias(column))

        other = RaceArchive(archive.tables.map(change))
        now = [digest_of_inputs(picture_inputs(other.snapshot(*cut), SMALL), generator) for cut in cuts]
        return [one != two for one, two in zip(digests, now, strict=True)]

    assert changed("laps", "2000_race_1", "lap_time_s") == [True, False, True, False]
    assert changed("entries", "2001_race_1", "grid") == [False, False, False, True]
    assert changed("results", "2000_race_1", "laps_completed") == [False] * 4
    assert changed("laps", "2001_race_2", "lap_time_s") == [False] * 4
    wide = SpeedTraceGenerator(tmp_path, SMALL.model_copy(update={"width": 220}))
    assert digest_of_inputs(picture_inputs(archive.snapshot(*cuts[0]), SMALL), wide) != digests[0]


def test_an_interrupted_build_that_is_run_again_equals_an_unbroken_one(
    archive: RaceArchive, built: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, summary = built
    original = SpeedTraceGenerator.write
    calls: list[str] = []

    def interrupted(self: SpeedTraceGenerator, snapshot: Any) -> dict[str, str]:
        calls.append(snapshot.horizon.name)
        paths = original(self, snapshot)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return paths

    monkeypatch.setattr(SpeedTraceGenerator, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(archive, tmp_path)
    assert not (tmp_path / "dataset_cache.json").exists()
    monkeypatch.setattr(SpeedTraceGenerator, "write", original)
    rest = build(archive, tmp_path)
    first_cut = sum(row["image_path"] is not None for row in rows_of(tmp_path)[:8])
    assert 0 < rest.drawn == summary.drawn - first_cut
    assert rows_of(tmp_path) == rows_of(unbroken)
    pictures = sorted(p.relative_to(unbroken) for p in unbroken.rglob("*.png"))
    assert pictures == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.png"))
    for path in pictures:
        np.testing.assert_array_equal(read_plot_area(tmp_path / path), read_plot_area(unbroken / path))
    assert not list(tmp_path.rglob("*.part"))


def test_several_processes_draw_the_same(
    archive: RaceArchive, built: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, summary = built
    monkeypatch.setattr(drawing, "MIN_CUTS_PER_WORKER", 1)
    seen: list[Progress] = []
    parallel = build(archive, tmp_path, workers=2, progress=seen.append)
    assert replace(parallel, seconds=0.0) == replace(summary, seconds=0.0)
    assert rows_of(tmp_path) == rows_of(unbroken)
    for path in unbroken.rglob("*.png"):
        np.testing.assert_array_equal(read_plot_area(tmp_path / path.relative_to(unbroken)), read_plot_area(path))
    assert seen[-1].done == seen[-1].total == summary.drawn
    assert build(archive, tmp_path).drawn == 0


def test_a_picture_that_fails_is_counted_and_tried_again(
    archive: RaceArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = SpeedTraceGenerator._page

    def fail(self: SpeedTraceGenerator, canvas: Any, path: Path, scene: Any, driver: str, *rest: Any) -> None:
        if driver == victim:
            raise PictureError("a torn canvas")
        original(self, canvas, path, scene, driver, *rest)

    cuts = CUTS[-1:]
    victim = archive.snapshot("2001_race_1", AfterLap(2)).laps["driver_id"][0]
    monkeypatch.setattr(SpeedTraceGenerator, "_page", fail)
    with caplog.at_level(logging.WARNING):
        summary = build(archive, tmp_path, cuts)
    assert summary.failed == 1
    assert summary.success_rate == summary.pictures / (summary.pictures + 1)
    assert victim in caplog.text
    assert "a torn canvas" in (tmp_path / "generation_errors.log").read_text()
    assert next(row["image_path"] for row in rows_of(tmp_path) if row["driver_id"] == victim) is None
    monkeypatch.setattr(SpeedTraceGenerator, "_page", original)
    assert build(archive, tmp_path, cuts).failed == 0


def test_the_full_race_needs_leave_and_is_marked(archive: RaceArchive, tmp_path: Path) -> None:
    cuts: list[Cut] = [("2000_race_1", FullRace(), "train")]
    with pytest.raises(HorizonError, match=r"2000_race_1: the horizon 'full_race' sees the result.*allow_leaking=True"):
        build(archive, tmp_path, cuts)
    assert not list(tmp_path.iterdir())
    build(archive, tmp_path, cuts, allow_leaking=True)
    assert json.loads((tmp_path / "dataset_cache.json").read_text())["leaks"] is True
    assert rows_of(tmp_path)[0]["image_path"] == f"2000_race_1/{rows_of(tmp_path)[0]['driver_id']}.png"


def test_paths_below_the_working_directory_are_written_as_the_design_has_them(
    archive: RaceArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build(archive, Path("data/multimodal"), [("2001_race_1", AfterLap(2), "train")])
    paths = [row["image_path"] for row in rows_of(Path("data/multimodal")) if row["image_path"]]
    assert paths
    assert all(path.startswith("data/multimodal/speed_traces/2001_race_1/lap_2/") for path in paths)
    dataset = MultiModalDataset()
    assert [Path(path).is_file() for path in dataset.image_paths if path] == [True] * len(paths)


@pytest.mark.parametrize(
    ("cuts", "error", "message"),
    [
        ([CUTS[0], CUTS[0]], DataError, r"the cut 2000_race_2, pre_race is given twice"),
        ([CUTS[0], ("2000_race_2", AfterLap(1), "test")], DataError, r"one split, got 'train' and 'test'"),
        ([("1999_race_1", PreRace(), "train")], NotFoundError, r"no race '1999_race_1'"),
        ([("2000_race_1", AfterLap(99), "train")], HorizonError, r"nobody has completed lap 99"),
    ],
)
def test_cuts_that_cannot_be(
    archive: RaceArchive, tmp_path: Path, cuts: list[Cut], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build(archive, tmp_path, cuts)
    assert not (tmp_path / "dataset_cache.json").exists()


def test_a_starter_without_a_result_has_no_label(archive: RaceArchive, tmp_path: Path) -> None:
    tables = archive.tables
    coming = RaceArchive(replace(tables, results=tables.results.filter(pl.col("race_id") != "2001_race_1")))
    with pytest.raises(LabelError, match=r"2001_race_1, driver_\d+: no result.*8 of 8 starters.*without results"):
        build(coming, tmp_path)


def test_a_cache_that_cannot_be_written_is_an_error(archive: RaceArchive, tmp_path: Path) -> None:
    (tmp_path / "dataset_cache.json").mkdir()
    with pytest.raises(ArtefactError, match=r"dataset_cache.json: cannot be written.*Choose a place"):
        build(archive, tmp_path, CUTS[-1:])


def test_an_empty_list_of_cuts_draws_nothing(archive: RaceArchive, tmp_path: Path) -> None:
    pictures, summary = draw_cuts(archive, [], SpeedTraceGenerator(tmp_path, SMALL))
    assert pictures == []
    assert (summary.rows, summary.drawn, summary.success_rate) == (0, 0, 1.0)


def test_from_the_cache_to_training_rows(built: Any, tmp_path: Path) -> None:
    folder, summary = built
    dataset = MultiModalDataset(folder / "dataset_cache.json", folder / "speed_traces")
    encoder = CountingEncoder()
    embeddings, has_image = encode_dataset(dataset, encoder, EmbeddingCache(tmp_path), 8)
    raw = rows_of(folder)
    assert has_image.tolist() == [row["image_path"] is not None for row in raw]
    assert has_image.sum() == summary.pictures
    normaliser = FeatureNormaliser.fit(dataset.tabular_raw, dataset.feature_names)
    rows = rows_from_dataset(LabelledRows.of(dataset), normaliser, "position", embeddings, has_image)
    assert rows.targets.tolist() == [row["label"] - 1 for row in raw]
    assert rows.tabular.shape == (len(raw), len(features.FEATURE_NAMES))
    np.testing.assert_array_equal(rows.tabular, normaliser.transform(dataset.tabular_raw))
    finish = rows_from_dataset(LabelledRows.of(dataset), normaliser, "finish", None, has_image)
    assert finish.targets.tolist() == [float(row["finished"]) for row in raw]
    assert finish.embeddings is None
    relative = rows_from_dataset(LabelledRows.of(dataset), normaliser, "position_regression", None, has_image)
    expected = relative_position([row["label"] for row in raw], [row["n_starters"] for row in raw])
    np.testing.assert_allclose(relative.targets, expected, rtol=1e-6)
