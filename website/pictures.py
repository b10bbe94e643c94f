"""Draws the pictures of docs/how-it-works.md from a simulated race. Run: python website/pictures.py [folder]

The same package draws the same pictures; run it again when the simulator or the drawing has changed.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import polars as pl
from PIL import Image

from f1_predict.config import PictureConfig, SimulatorConfig
from f1_predict.horizon import AfterLap, RaceArchive, Snapshot
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.sources.simulator import simulate

mpl.use("Agg")
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
SEED, SEASONS, RACES = 4, 1, 6
KNOWN, LATER, CUT = "#1f6f8b", "#d5dbe0", "#c0392b"


def snapshot() -> tuple[RaceArchive, Snapshot]:
    """The last simulated race, as known shortly after half of it."""
    archive = RaceArchive(simulate(SEASONS, SEED, SimulatorConfig(races_per_season=RACES)))
    race_id = archive.race_ids[-1]
    laps = int(archive.rows("races", race_id)["scheduled_laps"][0])
    return archive, archive.snapshot(race_id, AfterLap(round(0.55 * laps)))


def driver_in_the_middle(known: Snapshot) -> str:
    """A driver with cars ahead and behind: fifth on the road at the cut."""
    last = known.laps.filter(pl.col("lap") == known.cutoff_lap - 1).sort("position")
    return str(last["driver_id"][4])


def page(known: Snapshot, driver: str, style: str, folder: Path) -> bytes:
    """The page that people see."""
    generator = SpeedTraceGenerator(folder, PictureConfig(style=style))  # type: ignore[arg-type]
    return small(Image.open(generator.write(known)[driver]))


def seen(known: Snapshot, driver: str) -> bytes:
    """What the network sees of both styles, 112 x 112 pixels each, enlarged so that the pixels can be seen."""
    areas = []
    for style in ("speed", "race"):
        generator = SpeedTraceGenerator(config=PictureConfig(style=style))  # type: ignore[arg-type]
        area = Image.fromarray(generator.render(known, [driver]).images[0])
        areas.append(area.resize((112, 112), Image.Resampling.BOX).resize((336, 336), Image.Resampling.NEAREST))
    both = Image.new("RGB", (696, 336), "white")
    both.paste(areas[0], (0, 0))
    both.paste(areas[1], (360, 0))
    return small(both)


def cut(archive: RaceArchive, known: Snapshot) -> bytes:
    """Laps on the clock: those that are known at the cut, and those that are not."""
    from matplotlib.figure import Figure

    laps = archive.rows("laps", known.race_id)
    order = known.laps.group_by("driver_id").agg(pl.len(), pl.col("end_time_s").max())
    order = order.sort("len", "end_time_s", "driver_id", descending=[True, False, False])
    figure = Figure(figsize=(8, 4.4), dpi=100, layout="constrained")
    axes = figure.subplots()
    window = (known.cut_time_s - 330.0, known.cut_time_s + 250.0)
    order = order.filter(pl.col("end_time_s") > window[0])  # the others have retired
    for row, driver in enumerate(order["driver_id"]):
        own = laps.filter(pl.col("driver_id") == driver).sort("lap")
        for end, time, lap in own.select("end_time_s", "lap_time_s", "lap").iter_rows():
            if time is None or end < window[0] or end - time > window[1]:
                continue
            colour = KNOWN if end <= known.cut_time_s else LATER
            axes.barh(row, time - 3.0, left=end - time + 1.5, height=0.7, color=colour)
            middle = end - time / 2
            if (row < 3 or row == order.height - 1) and window[0] + 12 < middle < window[1] - 12:
                text = "white" if colour == KNOWN else "#555555"
                axes.text(middle, row, f"lap {lap}", ha="center", va="center", fontsize=7, color=text)
    axes.axvline(known.cut_time_s, color=CUT, linewidth=2)
    axes.set_title(
        f"After lap {known.cutoff_lap}: what is known (dark) and what is not (light)", loc="left", fontsize=11
    )
    axes.set_xlim(*window)
    axes.set_ylim(order.height - 0.3, -0.7)
    axes.set_yticks([0, order.height - 1], ["leader", "last car"])
    axes.set_xlabel("seconds since the start; a bar is a lap of a car")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return small(Image.open(content))


def small(image: Image.Image) -> bytes:
    """A PNG without anything else, packed well."""
    content = io.BytesIO()
    image.convert("RGB").save(content, format="PNG", optimize=True)
    return content.getvalue()


def draw(folder: Path) -> list[Path]:
    """Write all pictures; returns their paths."""
    archive, known = snapshot()
    driver = driver_in_the_middle(known)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = {
            "cut.png": cut(archive, known),
            "speed.png": page(known, driver, "speed", Path(scratch)),
            "race.png": page(known, driver, "race", Path(scratch)),
            "seen.png": seen(known, driver),
        }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in pictures]


if __name__ == "__main__":
    for path in draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
