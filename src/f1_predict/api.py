"""What a Python program uses: a model folder and a store, opened together and asked about races.

`f1_predict.load` opens them. Knows nothing of terminals, pages or files of forecasts.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, overload

import polars as pl

from f1_predict.errors import ConfigError, HorizonError
from f1_predict.explain import Explanation
from f1_predict.explain import explain as explain_driver
from f1_predict.features import RaceFeatures, features_of_races
from f1_predict.forecasting import (
    RaceForecast,
    Replay,
    find_race,
    find_starter,
    forecast_of,
    horizon_after,
    race_events,
)
from f1_predict.forecasting.names import quoted
from f1_predict.forecasting.rows import as_pandas
from f1_predict.horizon import AfterLap, Horizon, PreRace, RaceArchive, Snapshot
from f1_predict.models.forecaster import RaceForecaster
from f1_predict.tables import read_store
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.manifests import BaseManifest, Manifest, read_manifest
from f1_predict.training.train import load_forecaster

RACES_KEPT = 4
"""Races whose earlier races' features and encoded pictures stay in memory."""


def open_predictor(model: str | Path, data: str | Path, archive: RaceArchive | None = None) -> Predictor:
    """A model folder and a store, opened; see `f1_predict.load`.

    Args:
        model: the model folder.
        data: the store; embeddings are looked for in `multimodal/embeddings` beside it.
        archive: the races of the store, if they have been read.

    Raises:
        StoreError: if the store cannot be read.
        ArtefactError: if the model folder cannot be read, or is of another version.
        WeightsError: if the backbone that it was trained with is not to be had.
        FeatureError: if it was trained on other features than this version computes.
    """
    folder, store = Path(model), Path(data)
    archive = archive or RaceArchive(read_store(store))
    manifest = read_manifest(folder)
    embeddings = store.parent / "multimodal" / "embeddings"
    cache = EmbeddingCache(embeddings) if embeddings.is_dir() else None
    return Predictor(load_forecaster(folder), archive, folder.resolve().name, manifest, cache)


class Predictor:
    """A trained model with the races of a store; made by `f1_predict.load`.

    Races are named by id ("2024_race_16"), or by season and parts of their name or circuit ("2024 monza"). Every
    forecast sees a Snapshot of its moment and nothing else: results and later laps are in the store, and not in it.

    Args:
        forecaster: the model.
        archive: the races.
        name: of the model, for the column `model`.
        manifest: of the model; None for one that was never saved.
        cache: embeddings on disk that replays read and add to; None for none.

    Example:
        >>> import f1_predict
        >>> model = f1_predict.load("artifacts/model", data="data/processed")
        >>> forecast = model.predict("2101 round 3", lap=5)
        >>> forecast.columns[:3]
        ['race_id', 'driver_id', 'constructor_id']
        >>> forecast["predicted_rank"].to_list()[:3]
        [1, 2, 3]
        >>> round(forecast["p_win"].sum(), 6)
        1.0
    """

    def __init__(
        self,
        forecaster: RaceForecaster,
        archive: RaceArchive,
        name: str,
        manifest: BaseManifest | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.forecaster, self.archive, self.name = forecaster, archive, name
        self._manifest, self._cache = manifest, cache
        self._replays: dict[str, Replay] = {}
        self._features: dict[str, RaceFeatures] = {}

    @property
    def manifest(self) -> BaseManifest | None:
        """The model folder's manifest; None for a model that was never saved."""
        return self._manifest

    @overload
    def races(self, season: int | None = None, *, pandas: Literal[False] = False) -> pl.DataFrame: ...
    @overload
    def races(self, season: int | None = None, *, pandas: Literal[True]) -> Any: ...
    def races(self, season: int | None = None, *, pandas: bool = False) -> Any:
        """The races that can be asked for, in the order of time.

        Args:
            season: only of this one.
            pandas: a pandas frame instead of a polars one.

        Returns:
            race_id, season, round, name, date, circuit_id, scheduled_laps, starters and laps (completed by the
            leader so far, 0 before the race).

        Example:
            >>> import f1_predict
            >>> model = f1_predict.load("artifacts/model", data="data/processed")
            >>> model.races(2101).select("race_id", "starters", "laps").rows()
            [('2101_race_1', 6, 8), ('2101_race_2', 6, 8), ('2101_race_3', 6, 8)]
        """
        races = self.archive.races if season is None else self.archive.races.filter(pl.col("season") == season)
        counts = [
            (race_id, self.archive.rows("entries", race_id).height, self.archive.laps_completed(race_id))
            for race_id in races["race_id"]
        ]
        known = pl.DataFrame(
            counts, schema={"race_id": pl.String, "starters": pl.Int32, "laps": pl.Int32}, orient="row"
        )
        columns = ("race_id", "season", "round", "name", "date", "circuit_id", "scheduled_laps")
        return _as(races.select(columns).join(known, on="race_id", how="left", maintain_order="left"), pandas)

    @overload
    def predict(self, race: str, lap: int | None = None, *, pandas: Literal[False] = False) -> pl.DataFrame: ...
    @overload
    def predict(self, race: str, lap: int | None = None, *, pandas: Literal[True]) -> Any: ...
    def predict(self, race: str, lap: int | None = None, *, pandas: bool = False) -> Any:
        """The whole field's forecast before the race, or after a lap of it.

        Args:
            race: its id, or season and parts of its name.
            lap: after the leader completes it, 1 or more; None: before the start.
            pandas: a pandas frame instead of a polars one.

        Returns:
            One row per starter, the best expected place first; columns as `forecasting.FORECAST_COLUMNS`.

        Raises:
            NotFoundError, AmbiguousError: if the name fits no race, or several; the message names the closest.
            HorizonError: if the race has no such lap.
            DataError: if the race has no entries yet.

        Example:
            >>> import f1_predict
            >>> model = f1_predict.load("artifacts/model", data="data/processed")
            >>> before = model.predict("2101_race_2")
            >>> before["horizon"].unique().to_list(), before["n_starters"][0]
            (['pre_race'], 6)
            >>> model.predict("2101_race_2", lap=5, pandas=True)["cutoff_lap"].tolist()
            [5, 5, 5, 5, 5, 5]
        """
        return _as(self.forecast(race, lap).rows, pandas)

    @overload
    def replay(self, race: str, every: int = 1, *, pandas: Literal[False] = False) -> pl.DataFrame: ...
    @overload
    def replay(self, race: str, every: int = 1, *, pandas: Literal[True]) -> Any: ...
    def replay(self, race: str, every: int = 1, *, pandas: bool = False) -> Any:
        """The forecasts before a race and after its laps, each from what was known at that moment.

        Args:
            race: its id, or season and parts of its name.
            every: forecast after each so many laps, and after the last one.
            pandas: a pandas frame instead of a polars one.

        Returns:
            The rows of `predict` at each moment, in the order of laps.

        Raises:
            NotFoundError, AmbiguousError: if the name fits no race, or several.
            HorizonError: if the race has no laps.
            DataError: if the race has no entries.
            ConfigError: if `every` is less than 1.

        Example:
            >>> import f1_predict
            >>> model = f1_predict.load("artifacts/model", data="data/processed")
            >>> model.replay("2101_race_3", every=3)["cutoff_lap"].unique().sort().to_list()
            [0, 3, 6, 8]
        """
        return _as(pl.concat([forecast.rows for forecast in self.stream(race, every)]), pandas)

    def explain(self, race: str, driver: str, lap: int | None = None, target: str | None = None) -> Explanation:
        """What moved one driver's forecast: picture, features, laps; see docs/explanations.md.

        The network's own answer for the driver is explained, before the field's are balanced against each other in the
        end.

        Args:
            race: its id, or season and parts of its name.
            driver: its id, or parts of it.
            lap: after the leader completes it, 1 or more; None: before the start.
            target: "expected_position" (the default), "p_win", "p_podium", "p_points" or "p_finish"; for a model of who
                is classified that alone.

        Raises:
            NotFoundError, AmbiguousError: if a name fits no race or driver, or several.
            HorizonError: if the race has no such lap.
            DataError: if the race has no entries yet.
            ConfigError: if the model says nothing of the target, or captum is not installed.

        Example:
            >>> import f1_predict
            >>> model = f1_predict.load("artifacts/model", data="data/processed")
            >>> one = model.explain("2101_race_3", "driver_003", lap=5)
            >>> one.target, one.laps["lap"].to_list()[:3]
            ('expected_position', [1, 2, 3])
            >>> round(sum(one.shares.values()), 6)
            1.0
            >>> abs(one.features["attribution"].sum() - (one.value - one.without["table"])) < 0.01
            True
            >>> one.to_pandas()["laps"].columns.tolist()
            ['lap', 'change', 'left', 'right']
        """
        race_id = self.find(race)
        horizon = horizon_after(self.archive, race_id, lap)
        driver_id = find_starter(self.archive, race_id, driver)
        forecast = self.forecast(race_id, lap)
        snapshot, values = self._replays[race_id].inputs(horizon)
        return explain_driver(
            self.forecaster,
            snapshot,
            driver_id,
            values,
            forecast.only([driver_id]).rows.row(0, named=True),
            target,
            forecast.notes,
        )

    def events(self, race: str, *, pandas: bool = False) -> Any:
        """What happened in a race, to be marked beside its replay; see `forecasting.race_events`.

        Raises:
            NotFoundError, AmbiguousError: if the name fits no race, or several.
            HorizonError: if the race has no laps.

        Example:
            >>> import f1_predict
            >>> model = f1_predict.load("artifacts/model", data="data/processed")
            >>> model.events("2101_race_3").columns
            ['race_id', 'kind', 'lap', 'until', 'driver_id', 'recorded']
        """
        return _as(race_events(self.archive, self.find(race)), pandas)

    def prepare(self) -> None:
        """Compute now what the forecasts of each race share, for who will ask of many: seconds for thirty seasons.

        The first forecast of a race is then as quick as the others; no forecast changes.
        """
        self._features = features_of_races(self.archive, self.forecaster.feature_config)

    def find(self, race: str) -> str:
        """The race_id of a race by its name.

        Raises:
            NotFoundError, AmbiguousError: if the name fits no race, or several.
        """
        return find_race(self.archive.races, race)

    def forecast(self, race: str, lap: object = None) -> RaceForecast:
        """As `predict`, with notes and what is missing, ready to be written as JSON, CSV or Parquet."""
        race_id = self.find(race)
        horizon = horizon_after(self.archive, race_id, lap)
        return next(self._forecasts(race_id, [horizon]))

    def stream(self, race: str, every: object = 1) -> Iterator[RaceForecast]:
        """As `replay`, forecast by forecast, each as soon as it is made."""
        race_id = self.find(race)
        return self._forecasts(race_id, self._moments(race_id, every))

    def _moments(self, race_id: str, every: object) -> list[Horizon]:
        """Before the race, and after each `every` laps and the last."""
        try:
            step = operator.index(every)  # type: ignore[arg-type]
        except TypeError:
            step = 0
        if step < 1 or isinstance(every, bool):
            raise ConfigError(f"every must be a whole number of laps, 1 or more, got {quoted(every)}.")
        last = self.archive.laps_completed(race_id)
        if last == 0:
            raise HorizonError(
                f"{race_id} has no laps in the store, so there is nothing to replay. "
                f"The forecast before it: f1-predict predict {race_id}"
            )
        return [PreRace(), *(AfterLap(lap) for lap in range(step, last, step)), AfterLap(last)]

    def _forecasts(self, race_id: str, horizons: list[Horizon]) -> Iterator[RaceForecast]:
        replay = self._replays.pop(race_id, None) or Replay(
            self.forecaster, self.archive, race_id, self._cache, self._features.get(race_id)
        )
        while len(self._replays) >= RACES_KEPT:
            del self._replays[next(iter(self._replays))]
        self._replays[race_id] = replay
        for snapshot, forecast in replay.forecasts(horizons):
            yield forecast_of(snapshot, forecast, self.name, self._notes(snapshot))

    def _notes(self, snapshot: Snapshot) -> tuple[str, ...]:
        """What a reader should know of this model and this race."""
        manifest, notes = self._manifest, []
        if manifest is None:
            return ()
        learnt = manifest.data.seasons + manifest.data.validation_seasons
        if snapshot.race.season in learnt:
            notes.append(
                f"{snapshot.race_id} is of a season that the model learnt from; its forecast is no test of it."
            )
        if isinstance(snapshot.horizon, AfterLap) and set(manifest.horizons) == {PreRace().name}:
            notes.append("The model learnt from races before their start only, never during one.")
        starters = snapshot.entries.height
        if isinstance(manifest, Manifest) and manifest.head == "position" and starters > manifest.output_dim:
            notes.append(
                f"The model learnt fields of up to {manifest.output_dim} cars; its forecast is stretched over "
                f"the {starters} of this race."
            )
        return tuple(notes)


def _as(frame: pl.DataFrame, pandas: bool) -> Any:
    """The frame, or a pandas one with the same columns; lists stay lists."""
    return as_pandas(frame) if pandas else frame
