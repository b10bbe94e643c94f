"""SpeedTraceGenerator: files, refusals, batches, and pictures that do not know what is not known yet."""

from __future__ import annotations

import errno
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from f1_predict.config import PictureConfig
from f1_predict.errors import PictureError
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive
from f1_predict.models.speed_trace_generator import BatchSummary, SpeedTraceGenerator, read_plot_area
from tests.small_tables import random_tables
from tests.tampering import tamper

BLUE = np.array([0x00, 0x72, 0xB2])


def laps_of(count: int, base: float = 210.0, seed: int = 0) -> list[float | None]:
    return [float(v) for v in base + np.random.default_rng(seed).normal(0.0, 0.5, count)]


def share_of_blue(area: np.ndarray) -> float:
    """Share of the columns of a plot area in which the driver's line is to be seen."""
    return float((np.abs(area.astype(int) - BLUE).sum(axis=2) < 60).any(axis=0).mean())


class TestSpeedTraceGenerator:
    """The tests that the design names."""

    def test_generate_trace_creates_file(self, tmp_path: Path) -> None:
        generator = SpeedTraceGenerator(tmp_path / "traces")
        path = generator.generate_trace("2024_race_1", "alonso", laps_of(57))
        assert path == str(tmp_path / "traces" / "2024_race_1" / "alonso.png")
        assert [p.name for p in (tmp_path / "traces" / "2024_race_1").iterdir()] == ["alonso.png"]
        with Image.open(path) as image:
            image.verify()
        assert SpeedTraceGenerator().output_dir == Path("data/multimodal/speed_traces")

    def test_output_dimensions(self, tmp_path: Path) -> None:
        path = SpeedTraceGenerator(tmp_path).generate_trace("2024_race_1", "alonso", laps_of(57))
        with Image.open(path) as image:
            assert (image.size, image.mode, image.format) == ((800, 600), "RGB", "PNG")
            assert image.info == {
                "box": "84,72,448,448",
                "style": "relative",
                "race": "2024_race_1",
                "driver": "alonso",
                "horizon": "full_race",
            }
        assert read_plot_area(path).shape == (448, 448, 3)
        assert read_plot_area(path).dtype == np.uint8

    def test_edge_cases(self, tmp_path: Path) -> None:
        generator = SpeedTraceGenerator(tmp_path)
        one = read_plot_area(generator.generate_trace("r", "one", [210.0]))
        hundred = read_plot_area(generator.generate_trace("r", "hundred", laps_of(100)))
        holes = laps_of(100)
        holes[30:60] = [None] * 15 + [float("nan")] * 15
        missing = read_plot_area(generator.generate_trace("r", "missing", holes))
        alternate = [v if i % 2 else None for i, v in enumerate(laps_of(20))]
        isolated = read_plot_area(generator.generate_trace("r", "isolated", alternate))
        assert 0.0 < share_of_blue(one) < 0.03
        assert share_of_blue(hundred) > 0.95
        assert 0.6 < share_of_blue(missing) < 0.75
        assert 0.05 < share_of_blue(isolated) < 0.3

    def test_consistent_styling(self, tmp_path: Path) -> None:
        first, second = SpeedTraceGenerator(tmp_path / "a"), SpeedTraceGenerator(tmp_path / "b")
        same = [Path(g.generate_trace("r", "d", laps_of(57))).read_bytes() for g in (first, second, first)]
        assert same[0] == same[1] == same[2]
        other = Path(first.generate_trace("r", "d", laps_of(57, seed=1)))
        assert other.read_bytes() != same[0]
        with Image.open(other) as image:
            page = np.array(image.convert("RGB"))
        with Image.open(second.generate_trace("r", "d", laps_of(57))) as image:
            first_page = np.array(image)
        outside = np.ones(page.shape[:2], dtype=bool)
        outside[72:520, 84:800] = False  # all but the plot box and the few facts beside it
        assert (page[outside] == first_page[outside]).all()

    @pytest.mark.parametrize(
        ("laps", "text"),
        [
            (None, "must be a list of lap speeds in km/h, got NoneType"),
            ([], "must hold 1 to 1000 lap speeds in km/h, got 0"),
            ([1.0] * 1001, "got 1001"),
            ("fast", "got str"),
            (210.0, "got float"),
            ([None, None], "all 2 laps are missing"),
            ([float("nan")], "all 1 laps are missing"),
            ([210.0, 0.0], "lap 2 must be finite and above zero, got 0.0"),
            ([210.0, -3.0], "lap 2 must be finite and above zero, got -3.0"),
            ([float("inf"), 210.0], "lap 1 must be finite and above zero, got inf"),
            ([210.0, 211.0, float("-inf")], "lap 3 must be finite"),
            ([210.0, "quick"], "lap 2 must be a number, got 'quick'"),
            ([210.0, [1.0]], "lap 2 must be a number"),
        ],
    )
    def test_invalid_input_handling(self, tmp_path: Path, laps: object, text: str) -> None:
        generator = SpeedTraceGenerator(tmp_path / "traces")
        with pytest.raises(PictureError) as error:
            generator.generate_trace("2024_race_1", "alonso", laps)  # type: ignore[arg-type]
        assert text in str(error.value)
        assert "2024_race_1, alonso" in str(error.value)
        assert not (tmp_path / "traces").exists()

    @pytest.mark.parametrize(
        ("keywords", "text"),
        [
            ({"unit": "mph"}, "unit must be one of 'kmh', 's', got 'mph'"),
            ({"scale": "fancy"}, "scale must be one of 'relative', 'absolute', got 'fancy'"),
            ({"unit": "s", "scale": "absolute"}, "needs lap speeds in km/h"),
            ({"scheduled_laps": 0}, "scheduled_laps must be a whole number from 1 to 1000, got 0"),
            ({"scheduled_laps": 57.5}, "scheduled_laps must be a whole number from 1 to 1000, got 57.5"),
            ({"field": {"massa": [210.0, float("inf")]}}, "field of massa: lap 2 must be finite"),
        ],
    )
    def test_settings_that_cannot_be_used(self, tmp_path: Path, keywords: dict[str, object], text: str) -> None:
        with pytest.raises(PictureError, match=text):
            SpeedTraceGenerator(tmp_path).generate_trace("r", "d", laps_of(5), **keywords)  # type: ignore[arg-type]


BAD_IDS = ["../escape", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\0b", "C:evil", " a", "a\n", "...", "x" * 201]


@pytest.mark.parametrize("bad", [*BAD_IDS, 7, None])
def test_an_id_that_is_no_plain_name_is_refused_before_anything_is_written(tmp_path: Path, bad: object) -> None:
    generator = SpeedTraceGenerator(tmp_path / "deep" / "traces")
    for ids in ((bad, "alonso"), ("2024_race_1", bad)):
        with pytest.raises(PictureError, match="must be a plain name"):
            generator.generate_trace(*ids, laps_of(5))  # type: ignore[arg-type]
        with pytest.raises(PictureError, match="must be a plain name"):
            generator.picture_path(*ids, AfterLap(3))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from([PreRace(), AfterLap(3), FullRace()]))
def test_every_id_is_refused_or_stays_in_the_folder(race_id: str, driver_id: str, horizon: Horizon) -> None:
    root = Path("/pictures/root")
    try:
        path = SpeedTraceGenerator(root).picture_path(race_id, driver_id, horizon)
    except PictureError:
        return
    folders = [] if isinstance(horizon, FullRace) else [horizon.name]
    assert path.relative_to(root).parts == (race_id, *folders, f"{driver_id}.png")
    assert Path(os.path.normpath(path)) == path


def test_names_that_the_font_lacks_or_that_look_like_markup_are_drawn(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path)
    plain = read_plot_area(generator.generate_trace("race", "d", laps_of(9)))
    for name in ("日本", "$x^2_{", "W" * 190, "a_b%c#&"):
        assert (read_plot_area(generator.generate_trace(name, name, laps_of(9))) == plain).all()


# ---- batches ----


def test_batch_goes_on_after_failures_and_tells(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = SpeedTraceGenerator(tmp_path / "multimodal" / "speed_traces")
    races = [
        {"race_id": "good", "drivers": {"a": laps_of(9), "b": laps_of(9, 209.0), "broken": [], "../x": laps_of(9)}},
        {"race_id": "../escape", "drivers": {"a": laps_of(9), "b": laps_of(9)}},
        {"race_id": "no_drivers"},
        {"race_id": "odd", "drivers": {"a": laps_of(9)}, "scheduled_laps": "many"},
        {"race_id": "last", "drivers": {"a": laps_of(9)}, "scheduled_laps": 12},
    ]
    with caplog.at_level(logging.INFO):
        paths = generator.generate_batch(races)
    assert sorted(paths) == ["good/a", "good/b", "last/a"]
    assert all(Path(path).is_file() for path in paths.values())
    assert generator.last_batch == BatchSummary(attempted=9, written=3)
    assert generator.last_batch.failed == 6
    assert generator.last_batch.success_rate == pytest.approx(1 / 3)
    lines = (tmp_path / "multimodal" / "generation_errors.log").read_text().splitlines()
    assert len(lines) == 5
    assert "race='good'\tdriver='broken'\tgood, broken: laps: must hold 1 to 1000" in lines[0]
    assert "driver='../x'" in lines[1]
    assert "plain name" in lines[1]
    assert "race='../escape'" in lines[2]
    assert "'no_drivers'" in lines[3]
    assert "scheduled_laps must be a whole number" in lines[4]
    assert sum(r.levelno == logging.WARNING for r in caplog.records) == 5
    assert "3 of 9 pictures written (33.3 %)" in caplog.text
    assert not (tmp_path / "escape").exists()


def test_batch_draws_each_driver_before_the_field_of_the_race(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path)
    field = {name: laps_of(20, 205.0 + i, seed=i) for i, name in enumerate("abc")}
    paths = generator.generate_batch([{"race_id": "r", "drivers": field}])
    batch = read_plot_area(paths["r/b"])
    alone = read_plot_area(generator.generate_trace("r", "b", field["b"], field=field, scheduled_laps=20))
    assert (batch == alone).all()
    assert not (batch == read_plot_area(generator.generate_trace("r", "b", field["b"]))).all()


def test_an_empty_batch_is_a_full_success(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path)
    assert generator.generate_batch([]) == {}
    assert generator.last_batch == BatchSummary(0, 0)
    assert generator.last_batch.success_rate == 1.0


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ENOSPC, "the disk is full. Free some space"), (errno.EACCES, "Give a folder that you may write to")],
)
def test_a_full_disk_ends_the_batch_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("f1_predict.models.trace_files.os.replace", refuse)
    generator = SpeedTraceGenerator(tmp_path / "traces")
    with pytest.raises(PictureError, match=text):
        generator.generate_batch([{"race_id": "r", "drivers": {"a": laps_of(3), "b": laps_of(3)}}])
    archive = RaceArchive(random_tables(0))
    with pytest.raises(PictureError, match=text):
        generator.write(archive.snapshot(archive.race_ids[0], FullRace()))
    assert [p for p in (tmp_path / "traces").rglob("*") if p.is_file()] == []
    assert not generator.error_log.exists()


def test_a_picture_that_cannot_be_written_is_logged_and_the_rest_goes_on(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path / "traces")
    archive = RaceArchive(random_tables(0))
    snapshot = archive.snapshot(archive.race_ids[0], FullRace())
    blocked = next(iter(generator.write(snapshot)))
    path = generator.picture_path(snapshot.race_id, blocked, FullRace())
    path.unlink()
    path.mkdir()
    written = generator.write(snapshot)
    assert blocked not in written
    assert generator.last_batch is not None
    assert (generator.last_batch.failed, generator.last_batch.written) == (1, len(written))
    assert f"race='{snapshot.race_id}'\tdriver='{blocked}'" in generator.error_log.read_text()


def test_a_log_that_cannot_be_written_does_not_stop_the_batch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = SpeedTraceGenerator(tmp_path / "traces")
    generator.error_log.mkdir()
    paths = generator.generate_batch([{"race_id": "r", "drivers": {"a": [], "b": laps_of(3)}}])
    assert list(paths) == ["r/b"]
    assert "is only in this log" in caplog.text


# ---- snapshots ----


@pytest.mark.parametrize("horizon", [FullRace(), AfterLap(5), PreRace()])
def test_paths_and_presence_of_a_snapshot(tmp_path: Path, horizon: Horizon) -> None:
    archive = RaceArchive(random_tables(3))
    snapshot = archive.snapshot(archive.race_ids[-1], horizon)
    generator = SpeedTraceGenerator(tmp_path)
    written, batch = generator.write(snapshot), generator.render(snapshot)
    known = snapshot.past.laps if isinstance(horizon, PreRace) else snapshot.laps
    expected = [driver for driver in snapshot.driver_ids if driver in set(known["driver_id"])]
    assert batch.driver_ids == snapshot.driver_ids
    assert [d for d, there in zip(batch.driver_ids, batch.present, strict=True) if there] == expected == list(written)
    folder = tmp_path / snapshot.race_id
    folder = folder if isinstance(horizon, FullRace) else folder / horizon.name
    assert written == {driver: str(folder / f"{driver}.png") for driver in expected}
    assert not batch.images[~batch.present].any()
    assert batch.images[batch.present].any(axis=(1, 2, 3)).all()


def test_a_race_without_laps_has_no_pictures(tmp_path: Path) -> None:
    archive = RaceArchive(random_tables(0))
    generator = SpeedTraceGenerator(tmp_path)
    for race_id, horizon in ((archive.race_ids[2], FullRace()), (archive.race_ids[0], PreRace())):
        batch = generator.render(archive.snapshot(race_id, horizon))
        assert not batch.present.any()
        assert generator.write(archive.snapshot(race_id, horizon)) == {}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_after_the_cut_reaches_a_picture(tmp_path: Path, seed: int) -> None:
    tables = random_tables(seed)
    archive = RaceArchive(tables)
    race_id = archive.race_ids[-2]
    generator = SpeedTraceGenerator(tmp_path)
    for horizon in (PreRace(), AfterLap(4), AfterLap(7)):
        snapshot = archive.snapshot(race_id, horizon)
        before = {d: Path(p).read_bytes() for d, p in generator.write(snapshot).items()}
        altered = RaceArchive(tamper(tables, snapshot, seed)).snapshot(race_id, horizon)
        after = {d: Path(p).read_bytes() for d, p in SpeedTraceGenerator(tmp_path).write(altered).items()}
        assert before
        assert before == after
    full = archive.snapshot(race_id, FullRace())
    changed = RaceArchive(tamper(tables, archive.snapshot(race_id, AfterLap(4)), seed)).snapshot(race_id, FullRace())
    assert not np.array_equal(generator.render(full).images, generator.render(changed).images)


def test_generator_travels_to_other_processes(tmp_path: Path) -> None:
    archive = RaceArchive(random_tables(1))
    snapshot = archive.snapshot(archive.race_ids[-1], AfterLap(5))
    generator = SpeedTraceGenerator(tmp_path, PictureConfig(past_races=2))
    images = generator.render(snapshot).images
    copy = pickle.loads(pickle.dumps(generator))
    assert (copy.output_dir, copy.config) == (generator.output_dir, generator.config)
    assert np.array_equal(copy.render(snapshot).images, images)


def test_a_plot_box_must_lie_in_the_picture() -> None:
    with pytest.raises(ValueError, match="lie 8 or more inside the picture of 800 x 600"):
        PictureConfig(plot_box=(84, 200, 448, 448))


def test_pictures_stay_the_same_after_many_other_axes(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path)
    first = Path(generator.generate_trace("r", "d", laps_of(5))).read_bytes()
    for laps in range(6, 16):
        generator.generate_trace("r", "other", laps_of(5), scheduled_laps=laps)
    assert Path(generator.generate_trace("r", "d", laps_of(5))).read_bytes() == first


def test_a_batch_of_broken_laps_alone_writes_nothing(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path / "traces")
    assert generator.generate_batch([{"race_id": "r", "drivers": {"a": [], "b": None}}]) == {}
    assert generator.last_batch == BatchSummary(attempted=2, written=0)
    assert not (tmp_path / "traces").exists()
