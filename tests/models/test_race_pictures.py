"""Pictures in style `race`: one renderer, nothing from after the cut, no names, and each fact to be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

from f1_predict.config import PictureConfig
from f1_predict.errors import PictureError
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive, Snapshot
from f1_predict.models import race_layout as look
from f1_predict.models.race_data import RaceAxes, race_scene
from f1_predict.models.race_layout import RaceLayout, make_race_layout
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator, read_plot_area
from f1_predict.schemas import COMPOUNDS, Tables
from tests.models.test_trace_pixels import BOX, page_of, race, steady
from tests.small_tables import random_tables
from tests.tampering import tamper

RACE = PictureConfig(style="race")
HORIZONS = [FullRace(), AfterLap(6), AfterLap(1), PreRace()]


def generator(folder: str | Path = "unused") -> SpeedTraceGenerator:
    return SpeedTraceGenerator(folder, RACE)


def snapshot_of(tables: Tables, horizon: Horizon | None = None) -> Snapshot:
    archive = RaceArchive(tables)
    return archive.snapshot(archive.race_ids[-1], horizon or FullRace())


def drawn(tables: Tables, horizon: Horizon | None = None) -> np.ndarray:
    """The pictures of the last race of some tables, (n, 448, 448, 3)."""
    return generator().render(snapshot_of(tables, horizon)).images


def with_laps(tables: Tables, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Tables:
    return tables.map(lambda name, frame: change(frame) if name == "laps" else frame).validate()


def layout(laps: int = 20, positions: int = 5) -> RaceLayout:
    return make_race_layout(RaceAxes("race", laps, positions), BOX)


def is_colour(area: np.ndarray, colour: str) -> np.ndarray:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(area.astype(int) - wanted) <= 2).all(axis=2)


def lane(area: np.ndarray, name: str) -> np.ndarray:
    """The part of a lane over the laps."""
    panel = layout().panels[name]
    top = panel.top - BOX[1]
    return area[top + 1 : top + panel.height, : layout().width]


def instrument(area: np.ndarray, lane_name: str, name: str) -> np.ndarray:
    place = layout().places[lane_name, name]
    return area[place.top : place.bottom, place.left : place.right]


def column(lap: float, laps: int = 20) -> int:
    return round(float(layout(laps).x(np.array(lap / laps)))) - BOX[0]


# ---- one renderer, and nothing but the data ----


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_array_and_the_png_are_equal_pixel_for_pixel(tmp_path: Path, horizon: Horizon, seed: int) -> None:
    snapshot = snapshot_of(random_tables(seed), horizon)
    paths, batch = generator(tmp_path).write(snapshot), generator(tmp_path).render(snapshot)
    assert len(paths) >= (1 if horizon == AfterLap(1) else 4)
    for driver, path in paths.items():
        decoded = page_of(path)
        assert decoded.shape == (600, 800, 3)
        assert np.array_equal(decoded[72:520, 84:532], batch.images[batch.driver_ids.index(driver)])
        assert np.array_equal(read_plot_area(path), decoded[72:520, 84:532])
    distinct = {batch.images[i].tobytes() for i in np.flatnonzero(batch.present)}
    assert len(distinct) == batch.present.sum()


@pytest.mark.parametrize("horizon", HORIZONS)
def test_a_picture_does_not_depend_on_what_was_drawn_before(tmp_path: Path, horizon: Horizon) -> None:
    tables = random_tables(4)
    snapshot, archive = snapshot_of(tables, horizon), RaceArchive(tables)
    fresh = {d: Path(p).read_bytes() for d, p in generator(tmp_path).write(snapshot).items()}
    used = generator(tmp_path)
    for number in (3, 1, 4):
        used.write(archive.snapshot(archive.race_ids[number], FullRace()))
        used.render(archive.snapshot(archive.race_ids[number], PreRace()))
    assert {d: Path(p).read_bytes() for d, p in used.write(snapshot).items()} == fresh
    backwards = replace(snapshot, entries=snapshot.entries.reverse())
    assert {d: Path(p).read_bytes() for d, p in used.write(backwards).items()} == fresh
    some = used.render(snapshot, list(fresh)[-1:])
    assert np.array_equal(some.images[0], read_plot_area(used.picture_path(snapshot.race_id, list(fresh)[-1], horizon)))


def test_settings_of_the_user_do_not_change_pictures(tmp_path: Path) -> None:
    snapshot = snapshot_of(random_tables(4), AfterLap(6))
    plain = {d: Path(p).read_bytes() for d, p in generator(tmp_path).write(snapshot).items()}
    wild = {"lines.linewidth": 9.0, "font.size": 30.0, "path.simplify": 0, "lines.antialiased": False, "path.snap": 0}
    with mpl.rc_context(wild):
        assert {d: Path(p).read_bytes() for d, p in generator(tmp_path).write(snapshot).items()} == plain


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("horizon", [PreRace(), AfterLap(1), AfterLap(5)])
def test_what_comes_after_the_cut_changes_no_byte(seed: int, horizon: Horizon) -> None:
    tables = random_tables(seed)
    archive = RaceArchive(tables)
    race_id = archive.race_ids[3 + seed % 2]
    snapshot = archive.snapshot(race_id, horizon)
    before = generator().render(snapshot)
    after = generator().render(RaceArchive(tamper(tables, snapshot, seed)).snapshot(race_id, horizon))
    assert before.present.any()
    assert before.driver_ids == after.driver_ids
    assert np.array_equal(before.present, after.present)
    assert np.array_equal(before.images, after.images)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_names_leave_no_trace_in_the_plot_area(horizon: Horizon) -> None:
    tables = random_tables(6)

    def rename(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        if name == "races":
            return frame.with_columns(name=pl.lit("A far longer name of a race"), circuit_id=pl.lit("elsewhere"))
        return frame.with_columns(driver_id="zzz_" + pl.col("driver_id")) if "driver_id" in frame.columns else frame

    renamed = snapshot_of(tables.map(rename), horizon)
    renamed = replace(renamed, race=replace(renamed.race, race_id="1999_race_9", season=1999))
    assert np.array_equal(drawn(tables, horizon), generator().render(renamed).images)


def test_pictures_of_a_race_share_their_axes_at_every_cut() -> None:
    archive = RaceArchive(random_tables(7))
    axes = [
        race_scene(archive.snapshot(archive.race_ids[-1], h), 5).axes for h in (AfterLap(1), AfterLap(6), FullRace())
    ]
    assert axes[0] == axes[1] == axes[2] == RaceAxes("race", 12, 8)


# ---- files and settings ----


def test_both_styles_stand_side_by_side(tmp_path: Path) -> None:
    snapshot = snapshot_of(random_tables(1), AfterLap(6))
    speed = SpeedTraceGenerator(tmp_path)
    first, second = speed.write(snapshot), generator(tmp_path).write(snapshot)
    assert first.keys() == second.keys()
    for driver in first:
        assert Path(second[driver]).relative_to(tmp_path).parts == ("race", *Path(first[driver]).parts[-3:])
        with Image.open(second[driver]) as picture:
            assert picture.info["style"] == "race"
        assert not np.array_equal(read_plot_area(first[driver]), read_plot_area(second[driver]))


def test_what_style_race_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="scale 'absolute' is one of pictures in style 'speed', got style 'race'"):
        generator(tmp_path).write(snapshot_of(random_tables(1)), scale="absolute")
    with pytest.raises(PictureError, match=r"lists of laps give pictures in style 'speed' only.*Use write\(\)"):
        generator(tmp_path).generate_trace("2024_race_1", "alonso", [210.0, 211.0])
    with pytest.raises(PictureError, match="lists of laps"):
        generator(tmp_path).generate_batch([])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("box", [(84, 72, 224, 224), (84, 72, 448, 336), (20, 20, 64, 64)])
def test_plot_boxes_of_other_sizes(box: tuple[int, int, int, int]) -> None:
    small = SpeedTraceGenerator("unused", PictureConfig(style="race", plot_box=box))
    for horizon in HORIZONS:
        batch = small.render(snapshot_of(random_tables(2), horizon))
        assert batch.images.shape[1:] == (box[3], box[2], 3)
        assert len({image.tobytes() for image in batch.images[batch.present]}) == batch.present.sum()


# ---- odd races ----


@pytest.mark.parametrize("cars", [1, 2, 20, 26])
@pytest.mark.parametrize("horizon", [AfterLap(1), AfterLap(10), FullRace()])
def test_fields_of_any_size(cars: int, horizon: Horizon) -> None:
    batch = generator().render(snapshot_of(race(steady(cars=cars)), horizon))
    leader = 1 if horizon == AfterLap(1) else cars  # half a second apart: at the first cut the leader alone
    assert batch.present.sum() == leader
    assert len({image.tobytes() for image in batch.images[batch.present]}) == leader


def test_a_race_of_one_lap_and_a_race_stopped_early() -> None:
    one = drawn(race(steady(laps=1)))
    assert len({image.tobytes() for image in one}) == 5
    stopped = drawn(race(steady(laps=20), scheduled=40))
    line = is_colour(lane(stopped[1], "position"), look.INK)
    assert np.flatnonzero(line.any(axis=0)).max() <= column(20, 40) + 5


def test_no_race_before_and_drivers_without_laps_have_no_picture() -> None:
    assert not generator().render(snapshot_of(race(steady()), PreRace())).present.any()
    times = steady()
    times[2] = np.nan
    batch = generator().render(snapshot_of(race(times), AfterLap(10)))
    assert batch.present.tolist() == [True, True, False, True, True]
    assert not batch.images[2].any()


def test_what_old_seasons_did_not_record_is_drawn_as_unknown() -> None:
    known = with_laps(
        race(steady()),
        lambda laps: laps.with_columns(
            compound=pl.lit("SOFT"), tyre_life=pl.col("lap"), track_status=pl.lit("1"), pit_out=pl.lit(False)
        ),
    )
    unknown = with_laps(
        known,
        lambda laps: laps.with_columns(
            pl.lit(None, laps.schema[name]).alias(name)
            for name in ("compound", "tyre_life", "track_status", "pit_in", "pit_out", "speed_kmh")
        ),
    )
    soft, grey = look.COMPOUND_COLOURS[COMPOUNDS.index("SOFT") + 1], look.UNKNOWN
    for tables, shown, other in ((known, soft, grey), (unknown, grey, soft)):
        tyres = lane(drawn(tables)[1], "tyres")
        assert is_colour(tyres, shown).any(axis=0).mean() > 0.9
        assert not is_colour(tyres, other).any()


# ---- what is to be seen ----


@pytest.mark.parametrize("compound", COMPOUNDS)
def test_the_compound_is_a_colour_and_its_age_a_height(compound: str) -> None:
    fresh = with_laps(
        race(steady()), lambda laps: laps.with_columns(compound=pl.lit(compound), tyre_life=pl.col("lap"))
    )
    colour = look.COMPOUND_COLOURS[COMPOUNDS.index(compound) + 1]
    tyres = is_colour(lane(drawn(fresh)[1], "tyres"), colour)
    heights = tyres.sum(axis=0)
    assert 8 <= heights[column(2)] < heights[column(10)] < heights[column(19)]
    now = is_colour(instrument(drawn(fresh)[1], "tyres", "own"), colour)
    assert now.all(axis=1).sum() == pytest.approx(heights[column(20)] * 56 / 63, abs=1)  # a margin of a cell each way


def test_a_recorded_stop_is_a_bar_and_one_judged_from_lap_times_half_a_bar() -> None:
    times = steady()
    times[1, 9] += 20.0
    times[1, 10] += 20.0

    def bar(tables: Tables, lap: int) -> int:
        near = lane(drawn(tables)[1], "tyres")[:, column(lap + 0.5) - 3 : column(lap + 0.5) + 3]
        return int(is_colour(near, look.INK).sum(axis=0).max())

    recorded = race(times)
    judged = with_laps(recorded, lambda laps: laps.with_columns(pit_in=pl.lit(None, pl.Boolean)))
    height = lane(drawn(recorded)[1], "tyres").shape[0]
    assert bar(recorded, 10) == height
    assert bar(judged, 10) == pytest.approx(height / 2, abs=1)
    assert bar(recorded, 5) == bar(judged, 5) == 0


def test_a_safety_car_is_shaded_in_every_lane_dull_where_it_is_judged() -> None:
    times = steady()
    times[:, 9:12] *= 1.6
    judged = race(times)
    recorded = with_laps(
        judged,
        lambda laps: laps.with_columns(
            track_status=pl.when(pl.col("lap").is_between(10, 12)).then(pl.lit("4")).otherwise(pl.lit("1"))
        ),
    )
    for tables, colour in ((judged, look.CAUTION_JUDGED), (recorded, look.CAUTION)):
        area = drawn(tables)[1]
        strip = np.flatnonzero(is_colour(lane(area, "field"), colour).any(axis=0))
        assert abs(strip.min() - column(9.5)) <= 1
        assert abs(strip.max() - column(12.5)) <= 1
        for name in ("tyres", "pace", "around", "gap", "position"):
            assert is_colour(lane(area, name), look.CAUTION_BACK)[:, column(11)].any()
            assert not is_colour(lane(area, name), look.CAUTION_BACK)[:, column(15)].any()
    assert not is_colour(drawn(race(steady()))[1], look.CAUTION_BACK).any()


def rained(tables: Tables, first: float, last: float, rainfall: bool | None = True) -> Tables:
    minutes = np.arange(-10, 40)
    weather = pl.DataFrame({"time_s": minutes * 60.0}).with_columns(
        race_id=pl.lit(tables.races["race_id"][-1]), **{c: pl.lit(None, pl.Float64) for c in
        ("air_temp_c", "track_temp_c", "humidity_pct", "wind_ms")},
        rainfall=pl.when(pl.col("time_s").is_between(first, last)).then(pl.lit(rainfall)).otherwise(pl.lit(False)),
    )  # fmt: skip
    return tables.map(
        lambda name, frame: weather.select(frame.columns).cast(dict(frame.schema)) if name == "weather" else frame
    ).validate()


def test_rain_is_shaded_from_when_it_is_measured_and_lit_now() -> None:
    wet = rained(race(steady()), 900.0, 5000.0)  # from lap 10 of 90 s on
    area = drawn(wet, AfterLap(15))[1]
    strip = np.flatnonzero(is_colour(lane(area, "field"), look.RAIN).any(axis=0))
    assert abs(strip.min() - column(9.5)) <= column(1) - column(0) + 1
    assert is_colour(lane(area, "gap"), look.RAIN_BACK)[:, column(12)].any()
    assert not is_colour(lane(area, "gap"), look.RAIN_BACK)[:, column(6)].any()
    assert is_colour(instrument(area, "field", "rain"), look.RAIN).all()
    assert not is_colour(instrument(drawn(wet, AfterLap(8))[1], "field", "rain"), look.RAIN).any()


def test_numbers_now_are_bars_that_grow_with_the_place() -> None:
    images = drawn(race(steady()), AfterLap(10))
    tall = [is_colour(instrument(image, "position", "place"), look.PLACE).sum(axis=0).max() for image in images]
    assert all(np.diff(tall) < -10)
    deep = [is_colour(instrument(image, "gap", "gap"), look.GAP).sum(axis=0).max() for image in images]
    assert all(np.diff(deep) > 0)
    faster = [is_colour(instrument(image, "pace", "pace_10"), look.FASTER).sum() for image in images]
    slower = [is_colour(instrument(image, "pace", "pace_10"), look.SLOWER).sum() for image in images]
    assert faster[0] > faster[1] > faster[3] == 0
    assert slower[4] > slower[3] > slower[1] == 0


def test_cars_around_are_above_where_they_are_ahead_and_coloured_by_their_stops() -> None:
    tables = with_laps(
        race(steady(cars=3)),
        lambda laps: laps.with_columns(pit_in=(pl.col("driver_id") == "car_02") & (pl.col("lap") == 5)),
    )
    for car, (more, same, fewer) in enumerate([(1, 1, 0), (1, 1, 0), (0, 0, 2)]):
        ladder = instrument(drawn(tables, AfterLap(10))[car], "around", "gap")
        middle = (
            round(float(layout().panels["around"].y(np.array(0.0)))) - layout().places["around", "gap"].top - BOX[1]
        )
        for colour, cars, above in (
            (look.MORE, more, False), (look.OTHER, same, car == 1), (look.FEWER, fewer, True),
        ):  # fmt: skip
            rows = np.flatnonzero(is_colour(ladder, colour).all(axis=1))
            assert (len(rows) > 0) == (cars > 0)
            assert all((rows < middle) == above)


def test_a_stopped_car_is_marked_and_others_are_not() -> None:
    times = steady()
    times[1, 6:] = np.nan
    images = drawn(race(times), AfterLap(12))
    red = [is_colour(image, look.STOPPED).sum() for image in images]
    assert red[1] > 2000
    assert red[0] == red[2] == red[4] == 0
    assert np.flatnonzero(is_colour(lane(images[1], "position"), look.INK).any(axis=0)).max() < column(7)


def test_before_the_race_grid_and_qualifying_are_shown_and_older_races_are_fainter() -> None:
    tables = race(steady(), seasons=3)
    entries = tables.entries.with_columns(q1_s=80.0 + pl.col("grid").cast(pl.Float64))
    tables = Tables(tables.races, entries, tables.results, tables.laps, tables.weather)
    images = drawn(tables, PreRace())
    tall = [is_colour(instrument(image, "position", "start"), look.OTHER).sum(axis=0).max() for image in images]
    assert all(np.diff(tall) < -10)
    faster = [is_colour(instrument(image, "pace", "qualifying"), look.FASTER).sum() for image in images]
    assert faster[0] > faster[1] > faster[3] == 0
    last = SpeedTraceGenerator("u", RACE.model_copy(update={"past_races": 1})).render(snapshot_of(tables, PreRace()))
    slower = with_laps(
        tables,
        lambda laps: laps.with_columns(
            lap_time_s=pl.when((pl.col("race_id") == "2001_race_1") & (pl.col("driver_id") == "car_00"))
            .then(93.0)
            .otherwise("lap_time_s")
        ),
    )
    changed = drawn(slower, PreRace())
    differs = (changed[0] != images[0]).any(axis=2)
    assert differs.any()
    assert not is_colour(changed[0], look.INK)[differs].any()
    alone = SpeedTraceGenerator("u", RACE.model_copy(update={"past_races": 1})).render(snapshot_of(slower, PreRace()))
    assert np.array_equal(alone.images, last.images)
