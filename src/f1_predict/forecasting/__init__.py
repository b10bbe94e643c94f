"""From a trained model and a store to the forecasts that people ask for: races by name, at a lap, lap after lap."""

from f1_predict.forecasting.events import CAUTIONS, race_events
from f1_predict.forecasting.known import DRIVER_MISSING, RACE_MISSING
from f1_predict.forecasting.names import entries_of, find_driver, find_race, find_starter, horizon_after
from f1_predict.forecasting.replay import Replay
from f1_predict.forecasting.rows import FORECAST_COLUMNS, RaceForecast, forecast_of

__all__ = [
    "CAUTIONS",
    "DRIVER_MISSING",
    "FORECAST_COLUMNS",
    "RACE_MISSING",
    "RaceForecast",
    "Replay",
    "entries_of",
    "find_driver",
    "find_race",
    "find_starter",
    "forecast_of",
    "horizon_after",
    "race_events",
]
