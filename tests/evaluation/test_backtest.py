"""The walk-forward backtest on a small simulated world: nothing leaks, nothing is lost, odd races are forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from f1_predict.config import Config
from f1_predict.errors import ConfigError, NotFoundError
from f1_predict.evaluation import ladder
from f1_predict.evaluation.backtest import UnitDone, Workshop, rows_digest, run_backtest
from f1_predict.evaluation.folds import Cuts, Plan, fold_of
from f1_predict.evaluation.predictions import PREDICTION_COLUMNS, validate_predictions
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.tables import write_store
from f1_predict.training.cut_table import CutTable, write_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from tests.tampering import tamper
from tests.training.stand_ins import CountingEncoder

FRACTIONS = (0.0, 0.25, 0.5)
LEARNT = ("ensemble_pre", "network_table", "network_fusion", "ensemble_inrace", "best")
LAST = 2104


class Encoder(CountingEncoder):
    """As wide as the network expects."""

    feature_dim = 512

    def encode_arrays(self, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
        return np.tile(super().encode_arrays(images, batch_size), (1, 128)) / 255.0


def settings() -> Config:
    config = Config().changed("simulator", {"races_per_season": 3, "teams": 4})
    config = config.changed("evaluation", {"training_cuts": 3, "patience": 1})
    for stage in ("ensemble", "inrace_ensemble"):
        config = config.changed(stage, {"forest_trees": 5, "boosting_max_rounds": 5, "threads": 1})
    config = config.changed("field", {"epochs": 1, "width": 8, "layers": 1, "members": 1})
    return config.changed("training", {"epochs": 2})


@dataclass(frozen=True)
class Bench:
    """A store with its rows, ready to be forecast."""

    archive: RaceArchive
    config: Config
    plan: Plan
    cuts: Cuts
    workshop: Workshop

    def table(self) -> CutTable:
        return CutTable.read(self.workshop.rows)

    def run(self, workers: int = 1, on_unit=None, **changes) -> pl.DataFrame:
        plan = replace(self.plan, **changes)
        return run_backtest(self.workshop, self.cuts, plan, self.config, workers, on_unit)


def bench(tables: Tables, folder: Path, models: tuple[str, ...] = (), seasons: tuple[int, int] = (LAST, LAST)) -> Bench:
    config = settings()
    write_store(tables, folder / "store")
    archive = RaceArchive(tables)
    plan = Plan.of(archive, seasons, models, FRACTIONS)
    cuts = Cuts.of(archive, plan, config)
    encoder = Encoder()
    workshop = Workshop(
        folder / "store", folder / f"rows-{rows_digest(folder / 'store', plan, config, encoder.identity)}", folder
    )
    cache = EmbeddingCache(folder / "embeddings")
    write_cut_table(workshop.rows, archive, cuts.cuts, cuts.scored(plan), encoder, cache, config)
    return Bench(archive, config, plan, cuts, workshop)


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Seasons 2101 to 2104."""
    return simulate(4, 5, settings().simulator)


@pytest.fixture(scope="module")
def whole(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, pl.DataFrame]:
    """The last season forecast by all rungs."""
    made = bench(tables, tmp_path_factory.mktemp("whole"))
    return made, made.run()


class TestPlan:
    def test_unknown_models_get_the_closest_names(self, tables: Tables) -> None:
        with pytest.raises(NotFoundError, match=r"no model 'ensemble_prerace'\. Did you mean ensemble_pre"):
            Plan.of(RaceArchive(tables), (2104, 2104), ["ensemble_prerace"], FRACTIONS)

    @pytest.mark.parametrize("fractions", [(), (1.0,), (-0.1, 0.5)])
    def test_fractions_outside_the_race(self, tables: Tables, fractions: tuple[float, ...]) -> None:
        with pytest.raises(ConfigError, match=r"fractions must be one or more in \[0, 1\)"):
            Plan.of(RaceArchive(tables), (2104, 2104), [], fractions)

    def test_seasons_that_are_not_there(self, tables: Tables) -> None:
        with pytest.raises(ConfigError, match=r"no season of 1990-1991 in the store, which holds 2101-2104"):
            Plan.of(RaceArchive(tables), (1990, 1991), [], FRACTIONS)

    def test_too_few_seasons_before_the_first(self, tables: Tables, tmp_path: Path) -> None:
        made = bench(tables, tmp_path, ("grid",), (2102, 2102))
        with pytest.raises(ConfigError, match=r"season 2102 cannot be forecast: 1 season\(s\) with results before it"):
            made.run()

    def test_running_order_alone_before_the_race(self, tables: Tables) -> None:
        with pytest.raises(ConfigError, match=r"current_order forecasts during the race only"):
            Plan.of(RaceArchive(tables), (2104, 2104), ["current_order"], (0.0,))

    def test_models_learn_from_evenly_spread_moments_and_the_scored_ones(self, tables: Tables) -> None:
        plan = Plan.of(RaceArchive(tables), (2104, 2104), [], (0.0, 0.1))
        assert plan.learning_fractions(3) == (0.0, 0.1, 0.25, 0.5, 0.75)
        assert plan.learning_fractions(19)[:4] == (0.0, 0.05, 0.1, 0.15)


class TestFolds:
    def test_no_race_stands_on_two_sides_and_none_is_learnt_from_before_it_is_over(self, whole) -> None:
        made, _ = whole
        table = made.table()
        fold = fold_of(table, made.cuts, made.plan, LAST)
        sides = [set(table.cuts["race_id"].gather(cuts)) for cuts in (fold.train, fold.validation, fold.test)]
        assert [sorted({int(race_id[:4]) for race_id in side}) for side in sides] == [[2101, 2102], [2103], [2104]]
        assert [len(side) for side in sides] == [6, 3, 3]

    def test_races_without_results_are_not_learnt_from(self, tables: Tables, tmp_path: Path) -> None:
        results = tables.results.filter(pl.col("race_id") != "2102_race_2")
        made = bench(replace(tables, results=results), tmp_path, ("grid",))
        table = made.table()
        fold = fold_of(table, made.cuts, made.plan, LAST)
        assert "2102_race_2" not in set(table.cuts["race_id"].gather(fold.learned))
        assert "2102_race_1" in set(table.cuts["race_id"].gather(fold.learned))


class TestForecasts:
    def test_every_starter_is_forecast_by_every_rung_at_every_moment(self, whole) -> None:
        made, predictions = whole
        assert predictions.columns == list(PREDICTION_COLUMNS)
        starters = made.archive.tables.entries.filter(pl.col("race_id").str.starts_with("2104")).height
        counts = {(m, f): n for m, f, n in predictions.group_by("model", "fraction").len().iter_rows()}
        models = [*ladder.RUNGS, *ladder.ABLATIONS]
        expected = {(m, f): starters for m in models for f in FRACTIONS if (m, f) != ("current_order", 0.0)}
        assert counts == expected
        assert predictions["model"].unique(maintain_order=True).to_list() == models

    def test_the_tabular_baseline_learns_and_says_the_same_at_every_lap(self, whole) -> None:
        _, predictions = whole
        rows = predictions.filter(model="ensemble_pre")
        before = rows.filter(fraction=0.0).select("race_id", "driver_id", p0="p_win")
        half = rows.filter(fraction=0.5).select("race_id", "driver_id", p5="p_win")
        both = before.join(half, on=["race_id", "driver_id"])
        assert both.height == before.height
        assert both["p0"].to_list() == both["p5"].to_list()
        assert both["p0"].n_unique() > 3

    @pytest.mark.parametrize("model", LEARNT)
    def test_learnt_models_are_coherent(self, whole, model: str) -> None:
        _, predictions = whole
        for race in predictions.filter(model=model).partition_by("race_id", "fraction"):
            matrix = np.array(race["position_probs"].to_list())
            assert np.abs(matrix.sum(axis=0) - 1.0).max() < 1e-7

    def test_masking_the_pictures_changes_what_the_best_model_says(self, whole) -> None:
        _, predictions = whole
        keys = ["race_id", "driver_id", "fraction"]
        seen = predictions.filter(model="best").select(*keys, "p_win")
        masked = predictions.filter(model="best_without_pictures").select(*keys, other="p_win")
        both = seen.join(masked, on=keys)
        assert both.height == seen.height
        assert (both["p_win"] - both["other"]).abs().max() > 1e-6

    @pytest.mark.parametrize("model", ["current_order", *LEARNT])
    def test_nothing_after_the_cut_moves_a_forecast(self, whole, tables: Tables, tmp_path: Path, model: str) -> None:
        """Other laps after half distance of a race, another result of it and other later races: the same bits."""
        _, predictions = whole
        race_id = "2104_race_2"
        archive = RaceArchive(tables)
        snapshot = archive.snapshot(race_id, archive.horizon_at(race_id, 0.5))
        changed = bench(tamper(tables, snapshot, 3), tmp_path, (model,)).run()
        here, there = pl.col("race_id") == race_id, pl.col("race_id") == "2104_race_3"
        mine = [rows.filter(here & (pl.col("model") == model)) for rows in (predictions, changed)]
        assert mine[0].height == mine[1].height > 0
        assert mine[0].equals(mine[1])
        later = [rows.filter(there & (pl.col("model") == model)) for rows in (predictions, changed)]
        assert later[0].height == later[1].height > 0
        assert not later[0].equals(later[1]), "the alteration must show where it may"


class TestWork:
    def test_two_processes_give_the_same_bits(self, whole, tables: Tables, tmp_path: Path) -> None:
        _, predictions = whole
        models = ("grid", "ensemble_pre", "network_table", "ensemble_inrace", "best")
        parallel = bench(tables, tmp_path, models).run(workers=2)
        assert parallel.equals(predictions.filter(pl.col("model").is_in([*models, *ladder.ABLATIONS])))

    def test_goes_on_where_it_was_interrupted(self, tables: Tables, tmp_path: Path) -> None:
        made = bench(tables, tmp_path, ("grid", "uniform", "current_order"), (2103, 2104))

        def interrupt(done: UnitDone) -> None:
            if done.done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made.run(on_unit=interrupt)
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
        assert len(kept) == 2
        seconds: list[float] = []
        again = made.run(on_unit=lambda done: seconds.append(done.seconds))
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        assert len(seconds) == 6
        assert sum(value == 0.0 for value in seconds) == 2
        (tmp_path / "fresh").mkdir()
        fresh = bench(tables, tmp_path / "fresh", ("grid", "uniform", "current_order"), (2103, 2104)).run()
        assert again.equals(fresh)

    def test_a_damaged_part_is_made_again(self, tables: Tables, tmp_path: Path) -> None:
        made = bench(tables, tmp_path, ("grid",))
        first = made.run()
        (part,) = tmp_path.glob("2104-grid-*.parquet")
        part.write_bytes(part.read_bytes()[:100])
        assert made.run().equals(first)

    def test_other_settings_are_other_parts(self, tables: Tables, tmp_path: Path) -> None:
        made = bench(tables, tmp_path, ("grid",))
        made.run()
        other = replace(made, config=made.config.changed("evaluation", {"patience": 2}))
        other.run()
        assert len(list(tmp_path.glob("2104-grid-*.parquet"))) == 2


class TestOddRaces:
    def test_races_unlike_any_before_are_forecast(self, tables: Tables, tmp_path: Path) -> None:
        """In one season: new drivers, teams and a circuit in a larger field; a red flag; one lap; nothing run yet."""
        new, short, single, coming = "2104_race_1", "2104_race_2", "2104_race_3", "2104_race_4"
        grown = tables.entries.filter(race_id=new)
        more = pl.concat(
            [
                grown.with_columns(
                    driver_id=pl.lit(f"rookie_{i}_") + pl.col("driver_id"),
                    constructor_id=pl.lit("new_team"),
                    grid=pl.col("grid") + grown.height * i,
                )
                for i in (1, 2)
            ]
        )
        results = tables.results.filter(race_id=new)
        behind = pl.concat(
            [
                results.with_columns(
                    driver_id=pl.lit(f"rookie_{i}_") + pl.col("driver_id"),
                    position=pl.col("position") + grown.height * i,
                )
                for i in (1, 2)
            ]
        )
        race = tables.races.filter(race_id=single)
        entries = tables.entries.filter(race_id=single)
        laps = tables.laps
        scheduled = int(tables.races.filter(race_id=short)["scheduled_laps"][0])
        laps = laps.filter((pl.col("race_id") != short) | (pl.col("lap") <= scheduled // 3))
        laps = laps.filter((pl.col("race_id") != single) | (pl.col("lap") == 1))
        odd = Tables(
            races=pl.concat(
                [
                    tables.races.with_columns(
                        circuit_id=pl.when(race_id=new).then(pl.lit("never_seen")).otherwise("circuit_id")
                    ),
                    race.with_columns(race_id=pl.lit(coming), round=pl.lit(4, pl.Int32)),
                ]
            ),
            entries=pl.concat([tables.entries, more, entries.with_columns(race_id=pl.lit(coming))]),
            results=pl.concat([tables.results, behind]),
            laps=laps,
            weather=tables.weather,
        )
        made = bench(odd.sort().validate(), tmp_path)
        predictions = validate_predictions(made.run(), "odd races")
        fields = dict(made.archive.tables.entries.group_by("race_id").len().iter_rows())
        assert fields[new] == 3 * grown.height
        models = {*ladder.RUNGS, *ladder.ABLATIONS}
        for race_id in (new, short, single):
            rows = predictions.filter(race_id=race_id)
            assert set(rows["model"]) == models
            assert rows.filter(model="best", fraction=0.5).height == fields[race_id]
        assert set(predictions.filter(race_id=single)["horizon"]) == {PreRace().name, AfterLap(1).name}
        stopped = predictions.filter(race_id=short, fraction=0.5)["cutoff_lap"].unique().to_list()
        assert stopped == [scheduled // 3]
        before = predictions.filter(race_id=coming)
        assert set(before["fraction"]) == {0.0}
        assert set(before["model"]) == models - ladder.IN_RACE_ONLY
        assert before.filter(model="best").height == fields[coming]

    @pytest.mark.parametrize("asked", [(0.0, 0.5), (0.0,)])
    def test_a_season_of_which_nothing_is_run_yet(self, tables: Tables, tmp_path: Path, asked) -> None:
        """Entry lists alone: forecast before the race by all that can, whatever moments are asked for."""
        here = pl.col("race_id").str.starts_with("2104")
        coming = Tables(
            tables.races,
            tables.entries,
            *(getattr(tables, name).filter(~here) for name in ("results", "laps", "weather")),
        )
        models = [*ladder.COUNTED, "ensemble_pre"]
        plan = Plan.of(RaceArchive(coming), (LAST, LAST), models, asked)
        predictions = bench(coming, tmp_path, tuple(models)).run(fractions=asked, models=plan.models)
        assert set(predictions["model"]) == {"uniform", "grid", "ensemble_pre"}
        assert set(predictions["fraction"]) == {0.0}
        starters = tables.entries.filter(here).height
        assert predictions.height == 3 * starters
