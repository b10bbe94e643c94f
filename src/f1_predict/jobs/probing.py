"""The command that measures backbones on races: ridge probes of their embeddings, and ladder rung 6 with each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from f1_predict.config import Config
from f1_predict.errors import ConfigError
from f1_predict.evaluation.ladder import DESIGN_CANDIDATE
from f1_predict.evaluation.probe import (
    RANK_METRICS,
    Line,
    Probed,
    cars_at,
    rank_contributions,
    ridge_probe,
    score_lines,
    tree_ranks,
)
from f1_predict.evaluation.probe_fits import RUNG_METRICS, RungFit, fit_digest, fold_of_split, run_fits
from f1_predict.features.order import current_order, start_order
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.memory import peak_gb
from f1_predict.jobs.stores import open_archive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.report import terminal
from f1_predict.report.probe_page import ProbeResults, probe_tables, verdicts, write_probe_page
from f1_predict.tables.store import MANIFEST
from f1_predict.training.cut_embeddings import embed_cuts
from f1_predict.training.cut_table import Cut, CutTable, Integers, build_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.progress import Progress
from f1_predict.training.split import SeasonSplit, cuts_of, split_seasons

REFERENCES = ("current_order", "network_table", "ensemble_inrace")
"""Rungs of the ladder without pictures, on the same split; the network with every seed, as rung 6 is."""
SEEDED = ("network_table", DESIGN_CANDIDATE)
ROWS = "rows"
"""Folder of the rows that the processes share; there while they fit."""


@dataclass(frozen=True)
class Request:
    """What the user asks of a probe.

    Attributes:
        data: folder of the canonical tables.
        embeddings: folder of the encoded pictures.
        work: folder of the finished fits, which are not worked again.
        weights: of the backbone; the others are held against the first.
        styles: of the pictures.
        fit_seasons, score_seasons: first and last.
        fractions: of the scheduled laps, in (0, 1).
        fits: of each network of rung 6, with the seeds 0, 1, ...
        workers: processes that fit.
    """

    data: Path
    embeddings: Path
    work: Path
    weights: tuple[str, ...]
    styles: tuple[str, ...]
    fit_seasons: tuple[int, int]
    score_seasons: tuple[int, int]
    fractions: tuple[float, ...]
    fits: int
    workers: int


@dataclass(frozen=True)
class _Ground:
    """The races of a probe, the same for all backbones.

    Attributes:
        archive: the races.
        split: seasons to learn from and to score.
        cuts: each once, in the order of time.
        at: fraction -> numbers of the cuts at it.
        table: their rows, without pictures.
    """

    archive: RaceArchive
    split: SeasonSplit
    cuts: Sequence[Cut]
    at: dict[float, Integers]
    table: CutTable

    def numbers(self, fraction: float, seasons: Sequence[int]) -> Integers:
        """The cuts of some seasons at a fraction."""
        here = self.at[fraction]
        return here[np.isin(self.table.cuts["season"].to_numpy()[here], seasons)]

    @property
    def learned(self) -> tuple[int, ...]:
        return self.split.train + self.split.validation


@dataclass(frozen=True)
class _Seen:
    """The rows with the pictures of one style, encoded by one backbone.

    Attributes:
        label: weights and style.
        table: the rows.
        config: settings, the style among them.
        identity: of the backbone.
        told: how many pictures there are, for the page.
    """

    label: str
    table: CutTable
    config: Config
    identity: str
    told: str


def probe(console: Console, request: Request, config: Config, command: str, page: Path | None) -> ProbeResults:
    """Encode what the cache lacks, fit, score, print, and write the page where one is asked for.

    Raises:
        ConfigError: if fractions, weights, styles or seasons cannot be used; told before any work.
        WeightsError: if weights are not to be had; told before any work.
        StoreError: if the store cannot be read.
        ArtefactError: if something cannot be written.
    """
    start = time.perf_counter()
    encoders = _encoders(console, request, config)
    settings = {style: config.changed("picture", {"style": style}) for style in request.styles}
    ground = _ground(console, request, config)
    seen = [
        _look(console, ground, request, f"{name}/{style}", encoder, settings[style])
        for name, encoder in encoders.items()
        for style in request.styles
    ]
    encoded = time.perf_counter()
    probes = {(item.label, fraction): _probed(ground, item, fraction) for item in seen for fraction in ground.at}
    ridge = _ridge_lines(ground, seen, probes, config)
    rung, kept = _rung_lines(console, ground, seen, request, config)
    ended = time.perf_counter()
    own, child = peak_gb()
    facts = {
        "races": f"{request.data.name}, {ground.split.describe()}; the ridge regressions and trees learn from training "
        "and validation seasons, the networks' epochs are chosen on the latter",
        **{f"backbone {name}": f"{encoder.weights_note} ({encoder.identity})" for name, encoder in encoders.items()},
        **{f"pictures {item.label}": item.told for item in seen},
        "fits of each network": f"{request.fits}, seeds 0 to {request.fits - 1}",
        "intervals": f"95 %, {config.evaluation.bootstrap_draws:,} draws of whole races",
        "time": f"{(encoded - start) / 60:.1f} min until all pictures were encoded, then {(ended - encoded) / 60:.1f} "
        f"min of fits on {request.workers} processes" + (f", {kept} of them kept from an earlier run" if kept else ""),
        "peak memory": f"{own:.1f} GB resident here, {child:.1f} GB in the largest worker",
    }
    alphas = {key: probed.alpha for key, probed in probes.items()}
    results = ProbeResults(command, tuple(encoders), request.styles, ridge, alphas, rung, facts)
    for shown in probe_tables(results):
        console.print(terminal.table(*shown))
    for line in verdicts(results):
        console.print(line)
    if page is not None:
        write_probe_page(page, results)
        console.print(f"Page -> {page}")
    return results


def _encoders(console: Console, request: Request, config: Config) -> dict[str, VisionEncoder]:
    """Every backbone asked for, by name: what is not to be had is told before the long work begins."""
    made: dict[str, VisionEncoder] = {}
    for weights in request.weights:
        asked = config.encoder
        encoder = VisionEncoder(weights=weights, seed=asked.seed, device=asked.device, runtime=asked.runtime)
        name = Path(encoder.weights_name).name  # of a file, without its folder
        same = [other for other, found in made.items() if other == name or found.identity == encoder.identity]
        if same:
            raise ConfigError(
                f"weights '{weights}' are '{same[0]}' again. Give every backbone once, files by own names."
            )
        made[name] = encoder
        console.print(f"Backbone {name}: {encoder.weights_note}")
    if not made or not request.styles:
        raise ConfigError("a probe needs weights and styles, one or more. Give them as --weights random,trace.")
    return made


def _ground(console: Console, request: Request, config: Config) -> _Ground:
    """Races, cuts and features; cars are ranked at every fraction, whatever became of them."""
    outside = [fraction for fraction in request.fractions if not 0.0 < fraction < 1.0]
    if outside or not request.fractions:
        raise ConfigError(f"a probe looks at fractions of the race in (0, 1), got {list(request.fractions)}.")
    archive = open_archive(request.data)
    run = archive.races.join(archive.tables.results, on="race_id", how="semi")
    with_laps = run.filter([archive.laps_completed(race_id) > 0 for race_id in run["race_id"]])
    split = split_seasons(with_laps["season"].to_list(), request.fit_seasons, request.score_seasons)
    cuts = [(race_id, horizon) for race_id, horizon, _ in cuts_of(archive, split, request.fractions)]
    number = {cut: i for i, cut in enumerate(cuts)}
    races = dict.fromkeys(race_id for race_id, _ in cuts)
    at = {
        fraction: np.array(
            [number[race_id, archive.horizon_at(race_id, fraction)] for race_id in races], dtype=np.int64
        )
        for fraction in sorted(set(request.fractions))
    }
    with terminal.progress_bar(console, "Features") as progress:
        table = build_cut_table(archive, cuts, {}, config.fusion.image_feature_dim, config.features, progress)
    console.print(f"{len(races):,} races at {len(at)} moments, {len(table.positions):,} rows: {split.describe()}")
    return _Ground(archive, split, cuts, at, table)


def _look(
    console: Console, ground: _Ground, request: Request, label: str, encoder: VisionEncoder, config: Config
) -> _Seen:
    """Draw and encode the pictures that the cache lacks."""
    start = time.perf_counter()
    new = 0
    with terminal.progress_bar(console, f"Encoding {label}") as progress:

        def watch(done: Progress) -> None:
            nonlocal new
            new = done.done
            progress(done)

        found = embed_cuts(
            ground.archive,
            ground.cuts,
            SpeedTraceGenerator(config=config.picture),
            encoder,
            EmbeddingCache(request.embeddings, config.encoder.keep),
            config.encoder.batch_size,
            watch,
        )
    has_image = np.concatenate([cut.has_image for cut in found])
    table = replace(
        ground.table,
        embeddings=np.concatenate([cut.embeddings[cut.has_image] for cut in found]),
        picture_rows=np.where(has_image, np.cumsum(has_image) - 1, -1),
    )
    told = (
        f"{int(has_image.sum()):,} of {len(has_image):,} rows have one; {new:,} encoded in this run, "
        f"in {time.perf_counter() - start:.0f} s"
    )
    console.print(f"Pictures {label}: {told}")
    return _Seen(label, table, config, encoder.identity, told)


def _probed(ground: _Ground, seen: _Seen, fraction: float) -> Probed:
    """The ridge regression on the embeddings at a fraction of the race."""
    every = np.arange(len(seen.table.positions))
    embeddings, has_image = seen.table.embeddings_of(every), seen.table.has_image(every)
    learn, score = (
        cars_at(seen.table, ground.numbers(fraction, seasons), embeddings, has_image)
        for seasons in (ground.learned, ground.split.test)
    )
    return ridge_probe(learn, score)


def _ridge_lines(
    ground: _Ground, seen: Sequence[_Seen], probes: Mapping[tuple[str, float], Probed], config: Config
) -> tuple[Line, ...]:
    """Ranks from embeddings, and beside them orders and trees that see no picture."""
    table, lines = ground.table, []
    tables = {"in-race features": table.in_race, "all features": np.hstack([table.table, table.in_race])}
    known = np.ones(len(table.positions), dtype=np.bool_)
    for fraction in ground.at:
        asked, learned = (ground.numbers(fraction, seasons) for seasons in (ground.split.test, ground.learned))
        cars = cars_at(table, asked, table.in_race, known)
        snapshots = [ground.archive.snapshot(*ground.cuts[cut]) for cut in asked]
        ranks = {
            "grid": np.concatenate([start_order(snapshot) for snapshot in snapshots]),
            "current_order": np.concatenate([current_order(snapshot) for snapshot in snapshots]),
        }
        for name, values in tables.items():
            learn, score = (cars_at(table, cuts, values, known) for cuts in (learned, asked))
            ranks[f"trees on {name}"] = tree_ranks(learn, score, ground.split.validation, config.inrace_ensemble)
        ranks |= {item.label: probes[item.label, fraction].ranks for item in seen}
        lines += score_lines(
            {name: [rank_contributions(cars, found)] for name, found in ranks.items()},
            fraction,
            _rivals([item.label for item in seen], "current_order", ""),
            RANK_METRICS,
            draws=config.evaluation.bootstrap_draws,
            seed=config.evaluation.seed,
        )
    return tuple(lines)


def _rung_lines(
    console: Console, ground: _Ground, seen: Sequence[_Seen], request: Request, config: Config
) -> tuple[tuple[Line, ...], int]:
    """Ladder rung 6 with each backbone and style, and the rungs without pictures; and how many fits were there."""
    fits = _fits(ground, seen, request, config)
    every = [fit for model in fits.values() for fit in model]
    missing = [fit for fit in every if not fit.finished()]
    console.print(f"{len(every)} fits of rungs, {len(every) - len(missing)} of them there already")
    done = 0

    def show(fit: RungFit, seconds: float) -> None:
        nonlocal done
        done += 1
        console.print(f"{done:>3} of {len(missing)}  {fit.model}, seed {fit.seed}: {seconds:.0f} s")

    rows = request.work / ROWS
    shutil.rmtree(rows, ignore_errors=True)  # of an interrupted probe
    try:
        for place in sorted({fit.rows for fit in missing}):
            seen[int(place.name)].table.write(place)
        fold = fold_of_split(ground.table, ground.at, ground.split)
        run_fits(missing, request.data, fold, config, request.workers, show)
    finally:
        shutil.rmtree(rows, ignore_errors=True)
    labels = [item.label for item in seen]
    lines = tuple(
        line
        for fraction in ground.at
        for line in score_lines(
            {model: [fit.contributions(fraction) for fit in made] for model, made in fits.items()},
            fraction,
            _rivals(labels, "network_table", f"{DESIGN_CANDIDATE} "),
            RUNG_METRICS,
            draws=config.evaluation.bootstrap_draws,
            seed=config.evaluation.seed,
        )
    )
    return lines, len(every) - len(missing)


def _fits(ground: _Ground, seen: Sequence[_Seen], request: Request, config: Config) -> dict[str, list[RungFit]]:
    """All fits by the model's name in the tables: rungs without pictures, then rung 6 for each backbone and style.

    The files of scores are named by all that they are made from.
    """
    manifest = (request.data / MANIFEST).read_bytes()
    fits: dict[str, list[RungFit]] = {}

    def add(model: str, rung: str, place: int, settings: Config, pictures: str) -> None:
        for seed in range(request.fits if rung in SEEDED else 1):
            made_of = f"{rung}, seed {seed}, {pictures}"
            digest = fit_digest(manifest, settings, ground.split, ground.at, made_of)
            file = request.work / f"{rung}-{digest}.parquet"
            fits.setdefault(model, []).append(RungFit(model, rung, request.work / ROWS / str(place), seed, file))

    for rung in REFERENCES:
        add(rung, rung, 0, config, "no pictures")
    for place, item in enumerate(seen):
        add(f"{DESIGN_CANDIDATE} {item.label}", DESIGN_CANDIDATE, place, item.config, item.identity)
    return fits


def _rivals(labels: Sequence[str], common: str, prefix: str) -> dict[str, list[str]]:
    """Every backbone against the rival of all, and against the first backbone with the same style."""
    first = {label.rpartition("/")[2]: label for label in reversed(labels)}
    return {
        prefix + label: [common] + [prefix + found for found in [first[label.rpartition("/")[2]]] if found != label]
        for label in labels
    }
