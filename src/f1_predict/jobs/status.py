"""What there is and what is missing: races of the store, picture files drawn from them, embeddings of pictures.

An embedding is known by its picture and not by its race: so by race those of picture files are counted, and of all
others, of cuts that were drawn and encoded without a file, there is a total.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError, safe_open

from f1_predict.report.plain import table
from f1_predict.tables import SIMULATED, read_provenance, read_store, store_source
from f1_predict.tables.status import KINDS, Gap, coverage, gaps, gaps_of

DRAWN = ("pictures", "embeddings")
SHOWN_GAPS = 20
USUAL, USUAL_RAW = Path("data/processed"), Path("data/raw")


def show_status(
    console: Console,
    data: Path,
    traces: Path,
    embeddings: Path,
    seasons: tuple[int, int] | None = None,
    today: date | None = None,
    raw: Path = USUAL_RAW,
) -> pl.DataFrame:
    """Print seasons x kinds of data (of a single season its races), then what is missing and what gets it.

    Returns:
        as `coverage`, with `pictures` and `embeddings`.

    Raises:
        StoreError: if there is no store.
    """
    tables = read_store(data)
    today = today or datetime.now(UTC).date()
    covered = coverage(tables, today)
    if seasons is not None:
        covered = covered.filter(pl.col("season").is_between(*seasons))
    encoded = _encoded(embeddings)
    covered = _with_pictures(covered, traces, set().union(*encoded))
    console.print(_races_table(covered) if covered["season"].n_unique() == 1 else _seasons_table(covered))
    origins = read_provenance(data)
    sources = origins.join(covered, on="race_id", how="semi").group_by("source", maintain_order=True).agg(
        pl.col("race_id").n_unique(), pl.col("fetched").max()
    )  # fmt: skip
    for source, races, fetched in sources.iter_rows():
        when = "at an unknown time" if fetched is None else f"last changed {fetched:%Y-%m-%d %H:%M} UTC"
        console.print(f"{source}: {races} races, {when}", highlight=False)
    console.print(_embeddings_line(encoded, embeddings), highlight=False, soft_wrap=True)
    options = "" if data == USUAL else f" --out {data}"
    options += "" if raw == USUAL_RAW else f" --raw {raw}"
    to_fetch = [] if store_source(data) == SIMULATED else gaps(covered, options)  # no service has simulated races
    lines = [str(gap) for gap in [*to_fetch, *_undrawn(covered, data, traces)]]
    for line in lines[:SHOWN_GAPS]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(lines) > SHOWN_GAPS:
        console.print(f"... and {len(lines) - SHOWN_GAPS} more gaps: narrow it down with --seasons")
    if not lines:
        console.print("Nothing is missing.")
    return covered


def _with_pictures(covered: pl.DataFrame, traces: Path, digests: set[bytes]) -> pl.DataFrame:
    """Add `pictures` (any file of the race) and `embeddings` (of one file of each drawn cut, all in the cache)."""
    drawn, encoded = [], []
    for race_id, laps in covered.select("race_id", "laps").iter_rows():
        samples = list(_samples(traces / race_id))
        drawn.append(bool(samples) or (False if laps else None))
        known = [hashlib.sha256(file.read_bytes()).digest() in digests for file in samples]
        encoded.append(all(known) if known else None)
    return covered.with_columns(
        pl.Series("pictures", drawn, dtype=pl.Boolean), pl.Series("embeddings", encoded, dtype=pl.Boolean)
    )


def _samples(folder: Path) -> Iterator[Path]:
    """The first picture of each cut of a race; those of full races only where no cut is drawn."""
    cuts = [*folder.glob("pre_race"), *sorted(folder.glob("lap_*"))]
    for cut in cuts or [folder]:
        yield from sorted(cut.glob("*.png"))[:1]


def _encoded(folder: Path) -> list[set[bytes]]:
    """The keys of the pictures that each encoder has encoded into the cache; of a file it is its SHA-256."""
    encoders: dict[Path, set[bytes]] = {}
    for shard in sorted(folder.glob("*/*.safetensors")):
        try:
            with safe_open(shard, framework="numpy") as file:
                encoders.setdefault(shard.parent, set()).update(row.tobytes() for row in file.get_tensor("digests"))
        except (SafetensorError, OSError):
            continue  # the cache itself drops a damaged shard, and encodes its pictures again
    return list(encoders.values())


def _embeddings_line(encoded: list[set[bytes]], folder: Path) -> str:
    """How many there are in all: the table has those of picture files only."""
    if not encoded:
        return f"embeddings: none in {folder}"
    by = "" if len(encoded) == 1 else f" by {len(encoded)} encoders"
    count = sum(len(keys) for keys in encoded)
    return f"embeddings: {count:,}{by} in {folder}, those of cuts without picture files (backtest) included"


def _undrawn(covered: pl.DataFrame, data: Path, traces: Path) -> list[Gap]:
    """Gaps of pictures and embeddings."""
    places = "" if data == USUAL else f" --data {data} --traces {traces}"
    commands = {
        "pictures": "f1-predict traces --seasons {}" + places.replace("--traces", "--out"),
        "embeddings": "f1-predict dataset" + places + ", then f1-predict train",
    }
    return [gap for kind in DRAWN for gap in gaps_of(covered, kind, commands[kind])]


def _seasons_table(covered: pl.DataFrame) -> Table:
    """Of each kind: races that have it, of all that could."""
    rows = []
    for (season,), races in covered.group_by("season", maintain_order=True):
        cells = []
        for kind in (*KINDS, *DRAWN):
            due = races[kind].drop_nulls()
            cells.append(f"{due.sum()} of {due.len()}" if due.len() else "-")
        rows.append([season, races.height, *cells])
    return table("Races there, of those that could be", ["season", "races", *KINDS, *DRAWN], rows)


def _races_table(covered: pl.DataFrame) -> Table:
    words = {True: "yes", False: "missing", None: "-"}
    kinds = (*KINDS, *DRAWN)
    rows = [
        [f"{row['race_id']} {row['name']}", *(words[row[kind]] for kind in kinds)]
        for row in covered.iter_rows(named=True)
    ]
    return table("Races ( - : not to be had)", ["race", *kinds], rows)
