"""What stands in the pixels of a speed trace: one renderer, no names, shared axes, and each fact visible."""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

from f1_predict.config import PictureConfig
from f1_predict.errors import PictureError
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive, Snapshot
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator, read_plot_area
from f1_predict.models.trace_data import AxesKey, field_pace, field_reference, lap_table, scene_of_snapshot
from f1_predict.models.trace_files import copy_rgb, encode_png
from f1_predict.models.trace_layout import make_layout
from f1_predict.schemas import Tables, dtypes, empty
from tests.small_tables import random_tables

BOX = (84, 72, 448, 448)
BLUE, GREEN, PURPLE, AMBER, VERMILION = (
    (0, 0x72, 0xB2),
    (0, 0x9E, 0x73),
    (0xA8, 0x45, 0x7F),
    (0xE6, 0x9F, 0),
    (0xD5, 0x5E, 0),
)
HORIZONS = [FullRace(), AfterLap(6), PreRace()]


def race(times: np.ndarray, scheduled: int | None = None, course: float | None = 5.0, seasons: int = 1) -> Tables:
    """Races of given lap times (drivers, laps), NaN where a lap is missing from the table, grid in row order."""
    rows: dict[str, list[dict[str, object]]] = {"races": [], "entries": [], "laps": []}
    seconds = np.where(np.isnan(times), 90.0, times)
    ends = seconds.cumsum(axis=1)
    for season in range(2001, 2001 + seasons):
        race_id = f"{season}_race_1"
        rows["races"].append(
            {
                "race_id": race_id, "season": season, "round": 1, "name": "Test", "date": date(season, 3, 1),
                "circuit_id": "ring", "course_length_km": course, "scheduled_laps": scheduled or times.shape[1],
            }
        )  # fmt: skip
        for i, own in enumerate(times):
            base = {"race_id": race_id, "driver_id": f"car_{i:02d}"}
            rows["entries"].append(base | {"constructor_id": "team", "grid": i + 1})
            for lap, value in enumerate(own, start=1):
                if not np.isnan(value):
                    place = 1 + int((ends[:, lap - 1] < ends[i, lap - 1]).sum())
                    rows["laps"].append(
                        base
                        | {"lap": lap, "lap_time_s": value, "end_time_s": ends[i, lap - 1], "position": place}
                        | {"implausible": False, "pit_in": bool(value > 105)}
                    )  # fmt: skip
    frames = {
        name: pl.DataFrame([{c: r.get(c) for c in dtypes(name)} for r in table], schema=dtypes(name))
        for name, table in rows.items()
    }
    return Tables(frames["races"], frames["entries"], empty("results"), frames["laps"], empty("weather")).validate()


def snapshot_of(tables: Tables, horizon: Horizon | None = None) -> Snapshot:
    archive = RaceArchive(tables)
    return archive.snapshot(archive.race_ids[-1], horizon or FullRace())


def steady(cars: int = 5, laps: int = 20) -> np.ndarray:
    """Lap times of cars that each keep their own pace, half a second apart."""
    return 90.0 + 0.5 * np.arange(cars)[:, None] + np.zeros((1, laps))


def page_of(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def is_colour(area: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(area.astype(int) - np.array(colour)) <= 2).all(axis=2)


def panel_rows(name: str, kind: str = "race") -> slice:
    panel = make_layout(AxesKey(kind, "relative", 20, 5, (0.0, 0.0)), BOX).panels[name]  # type: ignore[arg-type]
    return slice(panel.top - BOX[1], panel.top - BOX[1] + panel.height)


def column(lap: float, laps: int) -> int:
    return round(6 + lap / laps * (448 - 12))


# ---- one renderer ----


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_array_and_the_png_are_equal_pixel_for_pixel(tmp_path: Path, horizon: Horizon, seed: int) -> None:
    snapshot = snapshot_of(random_tables(seed), horizon)
    generator = SpeedTraceGenerator(tmp_path)
    paths, batch = generator.write(snapshot), SpeedTraceGenerator(tmp_path).render(snapshot)
    assert len(paths) >= 4
    for driver, path in paths.items():
        row = batch.driver_ids.index(driver)
        decoded = page_of(path)[72:520, 84:532]
        assert np.array_equal(decoded, batch.images[row])
        assert np.array_equal(read_plot_area(path), decoded)
    distinct = {batch.images[i].tobytes() for i in np.flatnonzero(batch.present)}
    assert len(distinct) == batch.present.sum()


@pytest.mark.parametrize("horizon", HORIZONS)
def test_a_picture_does_not_depend_on_what_was_drawn_before(tmp_path: Path, horizon: Horizon) -> None:
    tables = random_tables(4)
    snapshot = snapshot_of(tables, horizon)
    fresh = {d: Path(p).read_bytes() for d, p in SpeedTraceGenerator(tmp_path).write(snapshot).items()}
    used = SpeedTraceGenerator(tmp_path)
    archive = RaceArchive(tables)
    for number in (3, 1, 4):
        used.write(archive.snapshot(archive.race_ids[number], FullRace()), scale="absolute")
        used.render(archive.snapshot(archive.race_ids[number], PreRace()))
        used.generate_trace("other", "driver", [200.0, 190.0, None, 195.0])
    for _ in range(2):
        assert {d: Path(p).read_bytes() for d, p in used.write(snapshot).items()} == fresh
    backwards = replace(snapshot, entries=snapshot.entries.reverse())
    assert {d: Path(p).read_bytes() for d, p in used.write(backwards).items()} == fresh


def test_settings_of_the_user_do_not_change_pictures_and_are_kept(tmp_path: Path) -> None:
    snapshot = snapshot_of(random_tables(4), AfterLap(6))
    plain = {d: Path(p).read_bytes() for d, p in SpeedTraceGenerator(tmp_path).write(snapshot).items()}
    wild = {
        "lines.linewidth": 9.0, "font.family": ["serif"], "font.size": 30.0, "text.color": "red", "path.simplify": 0,
        "path.simplify_threshold": 1.0, "figure.facecolor": "black", "lines.antialiased": False, "text.hinting": "none",
        "figure.dpi": 300.0, "text.antialiased": False, "agg.path.chunksize": 101, "path.sketch": (5.0, 50.0, 9.0),
        "font.style": "italic", "axes.unicode_minus": False, "font.weight": "bold",
    }  # fmt: skip
    with mpl.rc_context(wild):
        styled = {d: Path(p).read_bytes() for d, p in SpeedTraceGenerator(tmp_path).write(snapshot).items()}
        assert mpl.rcParams["font.size"] == 30.0
        assert mpl.rcParams["font.style"] == "italic"
    assert styled == plain


def test_threads_share_a_generator_by_turns(tmp_path: Path) -> None:
    archive = RaceArchive(random_tables(5))
    snapshots = [
        archive.snapshot(race_id, FullRace()) for race_id in archive.race_ids if race_id != archive.race_ids[2]
    ]
    expected = [SpeedTraceGenerator(tmp_path).render(s).images for s in snapshots]
    shared = SpeedTraceGenerator(tmp_path)
    drawn: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i, s=s: drawn.update({i: shared.render(s).images}))
        for i, s in enumerate(snapshots)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(drawn[i], images) for i, images in enumerate(expected))


# ---- no names ----


@pytest.mark.parametrize("horizon", HORIZONS)
def test_names_leave_no_trace_in_the_plot_area(tmp_path: Path, horizon: Horizon) -> None:
    tables = random_tables(6)
    snapshot = snapshot_of(tables, horizon)

    def rename(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        if name == "races":
            return frame.with_columns(name=pl.lit("A far longer name of a race"), circuit_id=pl.lit("elsewhere"))
        return frame.with_columns(driver_id="zzz_" + pl.col("driver_id")) if "driver_id" in frame.columns else frame

    renamed = snapshot_of(tables.map(rename), horizon)
    renamed = replace(renamed, race=replace(renamed.race, race_id="1999_race_9", season=1999))
    generator = SpeedTraceGenerator(tmp_path)
    plain, other = generator.render(snapshot), generator.render(renamed)
    assert plain.present.any()
    assert np.array_equal(plain.images, other.images)
    generator.write(snapshot)
    for driver, path in generator.write(renamed).items():
        original = generator.picture_path(snapshot.race_id, driver.removeprefix("zzz_"), horizon)
        assert np.array_equal(read_plot_area(path), read_plot_area(original))
        assert not np.array_equal(page_of(path), page_of(original))


@pytest.mark.parametrize("horizon", [AfterLap(6), PreRace()])
@pytest.mark.parametrize("style", ["speed", "race"])
def test_all_text_stays_outside_the_plot_area(
    tmp_path: Path, style: Literal["speed", "race"], horizon: Horizon, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = snapshot_of(random_tables(6), horizon)
    settings = PictureConfig(style=style)
    with_text = {d: page_of(p) for d, p in SpeedTraceGenerator(tmp_path, settings).write(snapshot).items()}
    monkeypatch.setattr("f1_predict.models.page_canvas.Text.draw", lambda *_: None)
    without = {d: page_of(p) for d, p in SpeedTraceGenerator(tmp_path, settings).write(snapshot).items()}
    for driver, page in with_text.items():
        differs = (page != without[driver]).any(axis=2)
        assert differs.sum() > 1000
        assert not differs[71:521, 83:533].any()
        assert not differs[:4].any()
        assert not differs[-4:].any()
        assert not differs[:, :4].any()
        assert not differs[:, -3:].any()


# ---- what is to be seen ----


def test_pictures_of_a_race_and_cut_share_their_axes() -> None:
    archive = RaceArchive(random_tables(7))
    race_id = archive.race_ids[-1]
    keys = [
        scene_of_snapshot(archive.snapshot(race_id, h), "relative", 5).axes
        for h in (AfterLap(1), AfterLap(6), FullRace())
    ]
    assert keys[0] == keys[1] == keys[2] == AxesKey("race", "relative", 12, 8, (0.0, 0.0))
    images = SpeedTraceGenerator("unused").render(archive.snapshot(race_id, AfterLap(6)))
    shown = images.images[images.present]
    beyond = shown[:, :, column(6, 12) + 12 :]
    assert (beyond == beyond[0]).all()


def test_the_line_stands_where_the_lap_is_and_breaks_where_laps_are_missing() -> None:
    times = steady()
    times[0, 8:12] = np.nan
    area = SpeedTraceGenerator("unused").render(snapshot_of(race(times))).images[0]
    speed, position = is_colour(area, BLUE).any(axis=0), is_colour(area, GREEN).any(axis=0)
    assert speed[column(1, 20) : column(8, 20)].all()
    assert not speed[column(8, 20) + 4 : column(13, 20) - 4].any()
    assert speed[column(13, 20) : column(20, 20) - 6].all()
    assert not speed[: column(1, 20) - 4].any()
    assert position[column(0, 20) : column(8, 20)].all()
    assert not position[column(8, 20) + 4 : column(13, 20) - 4].any()


def test_a_race_that_was_stopped_keeps_its_scheduled_axis() -> None:
    area = SpeedTraceGenerator("unused").render(snapshot_of(race(steady(laps=20), scheduled=40))).images[0]
    drawn = np.flatnonzero(is_colour(area, BLUE).any(axis=0))
    assert abs(drawn.max() - column(20, 40)) <= 4


def test_more_laps_than_scheduled_are_all_drawn() -> None:
    area = SpeedTraceGenerator("unused").render(snapshot_of(race(steady(laps=20), scheduled=10))).images[0]
    drawn = np.flatnonzero(is_colour(area, BLUE).any(axis=0))
    assert drawn.max() - drawn.min() > 400


def test_faster_is_higher_and_first_is_on_top() -> None:
    batch = SpeedTraceGenerator("unused").render(snapshot_of(race(steady())))
    lap = column(10, 20)

    def height(car: int, colour: tuple[int, int, int]) -> float:
        return float(np.flatnonzero(is_colour(batch.images[car], colour)[:, lap]).mean())

    for colour in (BLUE, PURPLE, GREEN):
        heights = [height(car, colour) for car in range(5)]
        assert heights == sorted(heights)
        assert heights[-1] - heights[0] > 30
    middle = make_layout(AxesKey("race", "relative", 20, 5, (0.0, 0.0)), BOX).panels["speed"].y(np.array(0.0)) - BOX[1]
    assert height(2, BLUE) == pytest.approx(float(middle), abs=1.5)


def test_a_stop_and_its_marker_are_visible_and_a_slow_lap_stays_on_the_panel() -> None:
    times = steady()
    plain = SpeedTraceGenerator("unused").render(snapshot_of(race(times))).images[1]
    times[1, 9] = 900.0
    area = SpeedTraceGenerator("unused").render(snapshot_of(race(times))).images[1]
    speed = panel_rows("speed")
    near = slice(column(10, 20) - 5, column(10, 20) + 6)
    marked = np.flatnonzero(is_colour(area, VERMILION)[:, near].any(axis=1))
    assert speed.stop - 14 < marked.min() <= marked.max() < speed.stop
    assert not is_colour(plain, VERMILION).any()


def test_a_safety_car_shows_although_all_are_slow_together() -> None:
    times = steady()
    plain = SpeedTraceGenerator("unused").render(snapshot_of(race(times))).images[2]
    times[:, 9:12] *= 1.6
    area = SpeedTraceGenerator("unused").render(snapshot_of(race(times))).images[2]
    strip = is_colour(area, AMBER)[panel_rows("pace")]
    deep = np.flatnonzero(strip.sum(axis=0) > 10)
    assert abs(deep.min() - column(9.5, 20)) <= 1
    assert abs(deep.max() - column(12.5, 20)) <= 1
    assert is_colour(plain, AMBER).sum() < strip.sum() / 5


def test_older_races_are_fainter_before_the_race() -> None:
    batches = {
        n: SpeedTraceGenerator("u", PictureConfig(past_races=n)).render(
            snapshot_of(race(steady(), seasons=5), PreRace())
        )
        for n in (1, 4)
    }
    assert batches[1].present.all()
    assert is_colour(batches[1].images[0], BLUE).any(axis=0).mean() > 0.9
    times = race(steady(), seasons=5)
    slower = times.laps.with_columns(
        lap_time_s=pl.when((pl.col("race_id") == "2001_race_1") & (pl.col("driver_id") == "car_00"))
        .then(95.0)
        .otherwise("lap_time_s")
    )
    snapshot = snapshot_of(Tables(times.races, times.entries, times.results, slower, times.weather), PreRace())
    changed = SpeedTraceGenerator("u", PictureConfig(past_races=4)).render(snapshot).images[0]
    differs = (changed != batches[4].images[0]).any(axis=2)
    assert differs.any()
    assert not is_colour(changed, BLUE)[differs].any()
    last_only = SpeedTraceGenerator("u", PictureConfig(past_races=1)).render(snapshot).images[0]
    assert np.array_equal(last_only, batches[1].images[0])


@pytest.mark.parametrize("cars", [1, 18, 22, 26])
def test_fields_of_any_size(cars: int) -> None:
    batch = SpeedTraceGenerator("unused").render(snapshot_of(race(steady(cars=cars))))
    assert batch.images.shape == (cars, 448, 448, 3)
    assert batch.present.all()
    rows = [np.flatnonzero(is_colour(image, GREEN)[:, column(10, 20)]).mean() for image in batch.images]
    assert all(np.diff(rows) > 3)
    assert panel_rows("position").start < rows[0] <= rows[-1] < 448


def test_absolute_style_shows_kilometres_an_hour(tmp_path: Path) -> None:
    snapshot = snapshot_of(race(steady()))
    generator = SpeedTraceGenerator(tmp_path)
    relative = {d: read_plot_area(p) for d, p in generator.write(snapshot).items()}
    paths = generator.write(snapshot, scale="absolute")
    with Image.open(paths["car_00"]) as image:
        assert image.info["style"] == "absolute"
    assert all(not np.array_equal(read_plot_area(p), relative[d]) for d, p in paths.items())
    scene = scene_of_snapshot(snapshot, "absolute", 5)
    assert scene.axes.speed_range == (110.0, 200.0)
    assert scene.drivers["car_00"][0].speed[1:] == pytest.approx(200.0)
    unknown = snapshot_of(race(steady(), course=None))
    with pytest.raises(PictureError, match=r"2001_race_1 has neither speeds nor a course length. Use scale='relative'"):
        generator.write(unknown, scale="absolute")


def test_lap_times_and_speeds_of_the_same_laps_give_the_same_picture(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path)
    seconds = [90.0, 91.5, 112.0, 89.7, 90.2]
    speeds = [5.0 * 3600 / s for s in seconds]
    first = read_plot_area(generator.generate_trace("r", "a", seconds, unit="s"))
    assert np.array_equal(first, read_plot_area(generator.generate_trace("r", "a", speeds)))


# ---- numbers ----


@pytest.mark.parametrize("seed", range(5))
def test_field_reference_is_the_median_lap_by_lap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time = rng.normal(90.0, 3.0, (9, 30))
    time[rng.random(time.shape) < 0.2] = np.nan
    for car, end in enumerate(rng.integers(1, 40, 9)):
        time[car, end:] = np.nan
    reference, own = field_reference(time)
    last, cars = np.nan, 0
    for lap in range(30):
        there = [float(t) for t in time[:, lap] if not np.isnan(t)]
        if there and len(there) >= cars / 2:
            last, cars = float(np.median(there)), len(there)
            assert own[lap]
        else:
            assert not own[lap]
        assert reference[lap] == pytest.approx(last, nan_ok=True)


def test_the_leader_alone_on_a_lap_is_compared_with_the_field_before() -> None:
    tables = race(steady(cars=5))
    scene = scene_of_snapshot(snapshot_of(tables, AfterLap(6)), "relative", 5)
    leader = scene.drivers["car_00"][0]
    assert leader.speed[6] == pytest.approx(100 * (91.0 / 90.0 - 1))
    assert np.isnan(scene.pace[6])
    assert np.isnan(scene.drivers["car_01"][0].speed).tolist() == [True] + [False] * 5 + [True]


def test_field_pace_is_measured_against_racing_pace() -> None:
    reference = np.array([np.nan, 150.0, 150.0, 90.0, 90.0, 99.0])
    pace = field_pace(reference, ~np.isnan(reference))
    assert pace[1:] == pytest.approx([-40.0, -40.0, 0.0, 0.0, 100 * (90 / 99 - 1)])


def test_gap_grid_and_facts_of_a_lapped_car_and_a_pit_lane_start() -> None:
    tables = race(steady(cars=3))
    entries = tables.entries.with_columns(grid=pl.Series([0, 1, 2], dtype=pl.Int32))
    scene = scene_of_snapshot(
        snapshot_of(Tables(tables.races, entries, tables.results, tables.laps, tables.weather)), "relative", 5
    )
    first, last = scene.drivers["car_00"][0], scene.drivers["car_02"][0]
    assert first.position[:2].tolist() == [3.0, 1.0]
    assert last.gap[1:].tolist() == pytest.approx([1.0 * lap for lap in range(1, 21)])
    assert scene.facts("car_02") == [
        ("Last lap shown", "20 of 20"),
        ("Running position", "3"),
        ("Gap to the leader", "20.0 s"),
        ("Grid slot", "2"),
        ("Pit lane visits", "0"),
    ]
    assert ("Grid slot", "pit lane") in scene.facts("car_00")
    assert ("Gap to the leader", "none, leads") in scene.facts("car_00")


@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 4), (3, 1, 4), (1, 2, 4), (31, 47, 4), (31, 47, 3)])
def test_pixels_are_copied_as_plain_assignment_does_it_and_nothing_beside_them_is_touched(
    height: int, width: int, channels: int
) -> None:
    page = np.random.default_rng(0).integers(0, 256, (height + 9, width + 9, channels), dtype=np.uint8)
    source = page[4 : 4 + height, 5 : 5 + width]
    rows = np.full((height + 2, 1 + 3 * width), 7, dtype=np.uint8)
    copy_rgb(source, rows[1:-1, 1:].reshape(height, width, 3))
    assert (rows[1:-1, 1:].reshape(height, width, 3) == source[..., :3]).all()
    assert (rows[[0, -1]] == 7).all()
    assert (rows[:, 0] == 7).all()


def test_laps_of_drivers_who_are_not_entered_are_left_out() -> None:
    tables = race(steady(cars=4))
    table = lap_table(tables.laps, ["car_03", "car_01"], 5.0)
    assert table.time[:, 1].tolist() == [91.5, 90.5]


# ---- files ----


def test_encoded_png_is_what_pillow_reads(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(pixels, {"race": "São Paulo 日本"}))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.array(image), pixels)
        assert image.info["race"] == "São Paulo 日本"
    assert np.array_equal(read_plot_area(tmp_path / "a.png"), pixels)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large and holds nothing."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + struct.pack(">I", len(data))
        + b"IDAT"
        + data
        + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    )


def test_pictures_that_cannot_be_decoded_are_refused(tmp_path: Path) -> None:
    good = Path(SpeedTraceGenerator(tmp_path).generate_trace("r", "d", [200.0, 201.0])).read_bytes()
    cases = {
        b"": "no picture that can be decoded",
        good[: len(good) // 2]: "no picture that can be decoded",
        good[:40]: "no picture that can be decoded",
        b"this is text": "no picture that can be decoded",
        good.replace(b"box\0\0\0\0\0" + b"84", b"box\0\0\0\0\0" + b"xy"): "no picture that can be decoded",  # checksum
        bomb(6000, 6000): "at most 25,000,000 pixels, got 6000 x 6000",
        bomb(12000, 12000): "at most 25,000,000 pixels",
        bomb(60000, 60000): "at most 25,000,000 pixels",
        encode_png(np.zeros((9, 9, 3), np.uint8), {"box": "0,0,10,9"}): "must lie in the picture of 9 x 9 pixels",
        encode_png(np.zeros((9, 9, 3), np.uint8), {"box": "all"}): "must be 'left,top,width,height', got 'all'",
    }
    path = tmp_path / "bad.png"
    for content, text in cases.items():
        path.write_bytes(content)
        with pytest.raises(PictureError, match=text):
            read_plot_area(path)
    for missing in (tmp_path / "none.png", tmp_path, "a\0b"):
        with pytest.raises(PictureError):
            read_plot_area(missing)


def test_other_pictures_are_taken_whole(tmp_path: Path) -> None:
    Image.new("L", (30, 20), 7).save(tmp_path / "grey.png")
    area = read_plot_area(tmp_path / "grey.png")
    assert area.shape == (20, 30, 3)
    assert (area == 7).all()
