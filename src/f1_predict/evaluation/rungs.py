"""How each rung of the ladder is fitted on one fold and forecasts its test races.

A rung sees the rows of earlier seasons with their labels, and the test season's rows without theirs. Knows nothing
of files, of scores or of how the folds are worked off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f1_predict import features
from f1_predict.config import Config, EnsembleConfig, Head
from f1_predict.evaluation.baselines import CurrentOrderBaseline, GridBaseline, UniformBaseline
from f1_predict.evaluation.folds import Fold
from f1_predict.horizon import RaceArchive, Snapshot, parse_horizon
from f1_predict.models.ensemble import EnsemblePredictor
from f1_predict.training.cut_table import CutTable, Integers
from f1_predict.training.rows import LabelledRows
from f1_predict.training.train import EncodedDataset, for_finish, train_network
from f1_predict.training.train_field import train_fields

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Output:
    """A model's forecasts of the rows of a fold's test cuts.

    Attributes:
        probabilities: float64 (rows, classes), any number of classes (see probabilities.to_field).
        finish: float64 (rows,), probability of being classified.
    """

    probabilities: Floats
    finish: Floats


Rung = Callable[[RaceArchive, CutTable, Fold, Config], Mapping[str, Output]]
"""Fits on the fold and forecasts `fold.test`; the outputs by model name, the rung's own and its ablations'."""


def uniform(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 1."""
    model = UniformBaseline()
    return {"uniform": _counted(archive, table, fold, lambda _: model)}


def grid(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 2."""
    model = GridBaseline().fit(archive, _races(table, fold.learned))
    return {"grid": _counted(archive, table, fold, lambda _: model)}


def current_order(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 3; the rows before the race hold the forecast of the grid, and are not written.

    A race stopped early has one cut at several fractions; it is taken for the first of them, since nobody knew more.
    """
    races = _races(table, fold.learned)
    models = {
        fraction: CurrentOrderBaseline().fit(archive, races, fraction) for fraction in fold.scored if fraction > 0.0
    }
    before = GridBaseline().fit(archive, races)
    fraction_of = {int(cut): fraction for fraction in sorted(models, reverse=True) for cut in fold.at[fraction]}
    return {
        "current_order": _counted(
            archive, table, fold, lambda cut: models[fraction_of[cut]] if cut in fraction_of else before
        )
    }


def _counted(
    archive: RaceArchive,
    table: CutTable,
    fold: Fold,
    model_of: Callable[[int], UniformBaseline | GridBaseline | CurrentOrderBaseline],
) -> Output:
    probabilities, finish = [], []
    for cut in fold.test:
        snapshot = snapshot_of(archive, table, int(cut))
        model = model_of(int(cut))
        probabilities.append(model.predict(snapshot))
        finish.append(model.predict_finish(snapshot))
    return Output(stacked(probabilities), np.concatenate([np.empty(0), *finish]))


def ensemble_pre(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 4: learns from the rows before the race, and says the same at every lap."""
    race_of = table.cuts["race_id"].to_list()
    start = {race_of[cut]: cut for cut in fold.at[0.0].tolist()}
    before = np.array([start[race_of[cut]] for cut in fold.test.tolist()], dtype=np.int64)
    learn = (_only(fold.train, fold.at[0.0]), _only(fold.validation, fold.at[0.0]))
    return {"ensemble_pre": _ensemble(table, learn, learn, before, config.ensemble, _pre_race_values)}


def ensemble_inrace(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 7: learns positions from all cuts, and who is classified from the scored ones."""
    finish = (_only(fold.train, fold.scored_cuts), _only(fold.validation, fold.scored_cuts))
    learn = (fold.train, fold.validation)
    output = _ensemble(table, learn, finish, fold.test, config.inrace_ensemble, CutTable.known)
    return {"ensemble_inrace": output}


def _pre_race_values(table: CutTable, rows: Integers) -> Floats:
    return table.table[rows]


def _ensemble(
    table: CutTable,
    learn_position: tuple[Integers, Integers],
    learn_finish: tuple[Integers, Integers],
    test: Integers,
    config: EnsembleConfig,
    values: Callable[[CutTable, Integers], Floats],
) -> Output:
    """Fit both heads on their training and validation cuts, and forecast the test cuts."""
    asked = values(table, table.rows_of(test))

    def forecast(head: Head, classes: int, labels: Integers, learn: tuple[Integers, Integers]) -> Floats:
        rows, held_out = (table.rows_of(cuts) for cuts in learn)
        model = EnsemblePredictor(classes, head, config)
        model.fit(values(table, rows), labels[rows], values(table, held_out), labels[held_out])
        return model.predict_proba(asked)

    classes = int(table.starters_of(np.concatenate(learn_position)).max())
    position = forecast("position", classes, table.positions - 1, learn_position)
    finish = forecast("finish", 2, table.classified.astype(np.int64), learn_finish)
    return Output(position, finish[:, 1])


def network_table(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 5."""
    return {"network_table": _network(table, fold, config, use_pictures=False)}


def network_fusion(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 6."""
    return {"network_fusion": _network(table, fold, config, use_pictures=True)}


def _network(table: CutTable, fold: Fold, config: Config, *, use_pictures: bool) -> Output:
    """The design's network, one fit for all scored fractions; a second one forecasts who is classified."""
    parts = [_encoded(table, _only(cuts, fold.scored_cuts)) for cuts in (fold.train, fold.validation)]
    test = _encoded(table, fold.test, labelled=False)
    config = config.changed("fusion", {"head": "position"})
    config = config.changed("training", {"patience": config.evaluation.patience})
    position, finish = (
        train_network(parts[0], parts[1], settings, use_pictures=use_pictures).predict(test, use_pictures=use_pictures)
        for settings in (config, for_finish(config))
    )
    return Output(position, finish[:, 0])


def _encoded(table: CutTable, cuts: Integers, *, labelled: bool = True) -> EncodedDataset:
    """Rows to learn from, or to forecast: those all have the label 1, since the network's rows must have one."""
    rows = table.rows_of(cuts)
    starters = table.starters_of(cuts)
    race_ids = np.repeat(table.cuts["race_id"].to_numpy()[cuts], starters).tolist()
    found = LabelledRows(
        cache_file=Path("backtest"),
        feature_names=features.FEATURE_NAMES,
        race_ids=race_ids,
        driver_ids=[f"row {row}" for row in rows.tolist()],
        horizons=np.repeat(table.cuts["horizon"].to_numpy()[cuts], starters).tolist(),
        positions=np.where(labelled, table.positions[rows], 1),
        has_finished=np.where(labelled, table.classified[rows], False),
        n_starters=np.repeat(starters, starters),
        tabular_raw=table.table[rows],
    )
    return EncodedDataset(found, table.embeddings_of(rows), table.has_image(rows))


def best(archive: RaceArchive, table: CutTable, fold: Fold, config: Config) -> Mapping[str, Output]:
    """Rung 8, and the same network with the pictures masked when it forecasts."""
    trained = train_fields(table, fold.learned, np.isin(fold.learned, fold.scored_cuts), config)
    test = trained.rows(table, fold.test)
    return {
        "best": Output(*trained.fit.predict(test)),
        "best_without_pictures": Output(*trained.fit.predict(test, use_pictures=False)),
    }


RUNG_FUNCTIONS: dict[str, Rung] = {
    "uniform": uniform,
    "grid": grid,
    "current_order": current_order,
    "ensemble_pre": ensemble_pre,
    "network_table": network_table,
    "network_fusion": network_fusion,
    "ensemble_inrace": ensemble_inrace,
    "best": best,
}
"""By the names of ladder.RUNGS."""


def snapshot_of(archive: RaceArchive, table: CutTable, cut: int) -> Snapshot:
    """The snapshot of a cut."""
    return archive.snapshot(table.cuts["race_id"][cut], parse_horizon(table.cuts["horizon"][cut]))


def stacked(fields: list[Floats]) -> Floats:
    """Matrices (n_i, n_i) of fields as one (sum of n_i, widest field), zeros beyond a field."""
    widest = max((values.shape[1] for values in fields), default=1)
    padded = [np.pad(values, ((0, 0), (0, widest - values.shape[1]))) for values in fields]
    return np.concatenate([np.empty((0, widest)), *padded])


def _races(table: CutTable, cuts: Integers) -> list[str]:
    """The races of some cuts, each once, in the order of time."""
    return table.cuts["race_id"].gather(cuts).unique(maintain_order=True).to_list()


def _only(cuts: Integers, allowed: Integers) -> Integers:
    return cuts[np.isin(cuts, allowed)]
