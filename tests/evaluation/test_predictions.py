"""The predictions file: what passes, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.errors import ArtefactError, DataError
from f1_predict.evaluation.predictions import (
    PREDICTION_COLUMNS,
    prediction_rows,
    read_predictions,
    validate_predictions,
    write_predictions,
)
from f1_predict.horizon import AfterLap, FullRace, PreRace, RaceArchive
from tests.evaluation.forecasts import random_predictions, replaced
from tests.small_tables import random_tables

NAMES = list(PREDICTION_COLUMNS)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Two races of 4 and 12 cars, two fractions, two models: rows 1 to 4 are mine at fraction 0 of the first race."""
    return random_predictions(["mine", "other"], sizes=(4, 12), with_finish=["mine"])


@pytest.fixture(scope="module")
def archive() -> RaceArchive:
    return RaceArchive(random_tables(4))


def refusal(frame: pl.DataFrame) -> str:
    with pytest.raises(DataError) as caught:
        validate_predictions(frame, "file.parquet")
    return str(caught.value)


class TestAccepted:
    def test_columns_and_order_of_the_file(self) -> None:
        assert [
            *("race_id", "driver_id", "model", "horizon", "fraction", "cutoff_lap", "n_starters", "position_probs"),
            *("expected_position", "predicted_rank", "p_win", "p_podium", "p_points", "p_finish", "has_image"),
        ] == NAMES

    def test_rows_stay_as_they_are(self, frame: pl.DataFrame) -> None:
        shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
        assert_frame_equal(validate_predictions(shuffled, "x"), shuffled)

    def test_file_comes_back_bit_for_bit(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        path = tmp_path / "new" / "file.parquet"
        write_predictions(path, frame)
        assert_frame_equal(read_predictions(path), frame, check_exact=True)
        assert [entry.name for entry in path.parent.iterdir()] == ["file.parquet"]

    def test_other_widths_and_orders_of_columns_are_cast(self, frame: pl.DataFrame) -> None:
        """As another tool may write it: wide integers, integers as floats, single precision, fixed-size lists."""
        one = frame.filter(pl.col("race_id") == frame["race_id"][0])
        foreign = one.select(reversed(NAMES)).with_columns(
            pl.col("n_starters").cast(pl.UInt8),
            pl.col("cutoff_lap").cast(pl.Float64),
            pl.col("predicted_rank").cast(pl.Int64),
            pl.col("position_probs").cast(pl.Array(pl.Float32, 4)),
            pl.col("p_win", "p_podium", "p_points", "expected_position", "fraction").cast(pl.Float32),
            pl.col("model").cast(pl.Categorical),
            p_finish=pl.lit(None),
        )
        made = validate_predictions(foreign, "x")
        assert made.schema == pl.Schema(PREDICTION_COLUMNS)
        assert_frame_equal(made.drop("p_finish"), one.drop("p_finish"), abs_tol=1e-6)
        assert made["p_finish"].null_count() == 16

    def test_single_precision_fractions_are_the_usual_ones(self) -> None:
        frame = random_predictions(["mine"], fractions=(0.1,), sizes=(3,))
        made = validate_predictions(frame.with_columns(pl.col("fraction").cast(pl.Float32)), "x")
        assert made["fraction"].unique().to_list() == [0.1]

    def test_ties_may_be_ranked_either_way(self) -> None:
        frame = random_predictions(["uniform"], sizes=(4,))
        turned = frame.with_columns(predicted_rank=5 - pl.col("predicted_rank"))
        assert_frame_equal(validate_predictions(turned, "x"), turned)


class TestColumns:
    def test_missing_and_unknown_columns_are_named(self, frame: pl.DataFrame) -> None:
        message = refusal(frame.drop("p_win", "horizon").with_columns(position=1))
        assert message.startswith("file.parquet: columns must be race_id, driver_id, model, horizon,")
        assert "missing: horizon, p_win; unknown: position. Add, rename or drop columns" in message

    @pytest.mark.parametrize(
        ("column", "dtype", "says"),
        [
            ("has_image", pl.Int8, "column 'has_image' must be Boolean, got Int8"),
            ("fraction", pl.String, "column 'fraction' must be Float64, got String"),
            ("cutoff_lap", pl.Boolean, "column 'cutoff_lap' must be Int32, got Boolean"),
            ("position_probs", pl.List(pl.String), r"column 'position_probs' must be List(Float64), got List(String)"),
        ],
    )
    def test_other_kinds_are_refused(self, frame: pl.DataFrame, column: str, dtype: pl.DataType, says: str) -> None:
        changed = frame.with_columns(pl.lit(None).cast(dtype).alias(column))
        assert says in refusal(changed)

    def test_cast_that_changes_a_value_is_refused(self, frame: pl.DataFrame) -> None:
        ranks = frame["predicted_rank"].cast(pl.Float64)
        ranks[5] = 1.5
        message = refusal(frame.with_columns(predicted_rank=ranks))
        assert message.startswith("file.parquet, row 6 (2101_race_2, driver 'driver_01', model 'other'): ")
        assert "'predicted_rank' must be of type Int32, got 1.5, which Int32 cannot hold" in message

    def test_no_rows(self, frame: pl.DataFrame) -> None:
        assert "file.parquet: a predictions file needs rows, got none. Give the Parquet file" in refusal(frame.clear())

    @pytest.mark.parametrize("column", [name for name in NAMES if name != "p_finish"])
    def test_no_value(self, frame: pl.DataFrame, column: str) -> None:
        message = refusal(replaced(frame, 2, **{column: None}))
        assert message.startswith("file.parquet, row 3 (")
        assert f"'{column}' must have a value, got null. Fill it in." in message


class TestValues:
    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"fraction": 1.5}, "'fraction' must be in [0, 1], got 1.5"),
            ({"fraction": -0.1}, "'fraction' must be in [0, 1], got -0.1"),
            ({"fraction": float("nan")}, "'fraction' must be in [0, 1], got nan"),
            ({"fraction": 0.1}, "got horizon 'pre_race', fraction 0.1, cutoff_lap 0. Make the three tell the same"),
            ({"cutoff_lap": 3}, "got horizon 'pre_race', fraction 0.0, cutoff_lap 3"),
            ({"horizon": "lap_3", "cutoff_lap": 3}, "got horizon 'lap_3', fraction 0.0, cutoff_lap 3"),
            ({"horizon": "lap_4", "cutoff_lap": 3, "fraction": 0.1}, "horizon 'lap_4', fraction 0.1, cutoff_lap 3"),
            ({"horizon": "lap_0", "fraction": 0.1}, "horizon 'lap_0', fraction 0.1, cutoff_lap 0"),
            ({"horizon": "full_race", "fraction": 1.0, "cutoff_lap": 57}, "horizon 'full_race', fraction 1.0"),
            ({"n_starters": 1}, "'n_starters' must be 2 or more, got 1"),
            ({"n_starters": 5}, "'position_probs' must have n_starters numbers, got 4 for n_starters 5"),
            ({"position_probs": [0.5, 0.5]}, "got 2 for n_starters 4. Give one probability a place"),
            ({"position_probs": [0.5, 0.5, None, 0.0]}, "must be finite, not negative and sum to 1 within 1e-6, got"),
            ({"position_probs": [0.5, 0.5, float("nan"), 0.0]}, "must be finite, not negative and sum to 1"),
            ({"position_probs": [float("inf"), 0.5, 0.5, 0.0]}, "got a sum of inf and 0 at least"),
            (
                {"position_probs": [0.5, 0.6, -0.1, 0.0]},
                "got a sum of 1 and -0.1 at least. Divide each row by its sum.",
            ),
            ({"position_probs": [0.5, 0.5, 2e-6, 0.0]}, "sum to 1 within 1e-6, got a sum of 1.000002 and 0 at least"),
            ({"expected_position": 2.0}, "'expected_position' must be what position_probs give within 1e-6, got 2.0"),
            ({"expected_position": float("nan")}, "'expected_position' must be what position_probs give"),
            ({"p_win": 0.99}, "'p_win' must be what position_probs give within 1e-6, got 0.99, where they give 0."),
            ({"p_podium": 0.1}, "'p_podium' must be what position_probs give within 1e-6, got 0.1"),
            ({"p_points": 0.9}, "'p_points' must be what position_probs give within 1e-6, got 0.9"),
            ({"p_finish": 1.01}, "'p_finish' must be a probability in [0, 1], or null where it is not forecast"),
            ({"p_finish": float("nan")}, "'p_finish' must be a probability in [0, 1], or null"),
            ({"p_finish": None}, "must be given for all drivers of a forecast or for none, got null beside numbers"),
            ({"predicted_rank": 0}, "'predicted_rank' must be 1..n_starters, each once in a forecast, got 0"),
            ({"predicted_rank": 5}, "'predicted_rank' must be 1..n_starters, each once in a forecast, got 5"),
        ],
    )
    def test_bad_value_names_file_row_race_driver_and_model(self, frame: pl.DataFrame, values: dict, says: str) -> None:
        message = refusal(replaced(frame, 1, **values))
        assert message.startswith("file.parquet, row 2 (2101_race_2, driver 'driver_01', model 'mine'): ")
        assert says in message

    def test_rank_of_another_driver(self, frame: pl.DataFrame) -> None:
        message = refusal(replaced(frame, 3, predicted_rank=frame["predicted_rank"][1]))
        assert message.startswith("file.parquet, row 4 (")
        assert "each once in a forecast" in message

    def test_ranks_against_the_expected_positions(self, frame: pl.DataFrame) -> None:
        turned = frame.with_columns(
            predicted_rank=pl.when(pl.col("model") == "mine")
            .then(pl.col("n_starters") + 1 - pl.col("predicted_rank"))
            .otherwise("predicted_rank")
        )
        message = refusal(turned)
        assert "model 'mine'): 'predicted_rank' must order a forecast by expected_position, got rank" in message
        assert message.endswith("Rank the drivers by expected_position.")


class TestFields:
    def test_missing_driver(self, frame: pl.DataFrame) -> None:
        message = refusal(frame.filter(pl.int_range(pl.len()) != 6))
        assert message.startswith("file.parquet, row 5 (2101_race_2, driver 'driver_00', model 'other'): ")
        assert "must have one row per starter, got 3 rows for n_starters 4 at fraction 0.0. Forecast every" in message

    def test_driver_twice(self, frame: pl.DataFrame) -> None:
        message = refusal(pl.concat([frame, frame[4:5]]))
        assert message.startswith(f"file.parquet, row {frame.height + 1} (2101_race_2, driver 'driver_00', model 'ot")
        assert "a driver must have one row per race, fraction and model, got a second one at fraction 0.0" in message

    def test_models_that_saw_different_laps(self, frame: pl.DataFrame) -> None:
        late = (pl.col("model") == "other") & (pl.col("fraction") == 0.5)
        changed = frame.with_columns(
            cutoff_lap=pl.when(late).then(29).otherwise("cutoff_lap").cast(pl.Int32),
            horizon=pl.when(late).then(pl.lit("lap_29")).otherwise("horizon"),
        )
        message = refusal(changed)
        assert "model 'other'): 'cutoff_lap' must be the same in all rows of a race and fraction, got 29" in message

    def test_models_with_different_fields(self) -> None:
        mine, other = random_predictions(["mine"], sizes=(4,)), random_predictions(["other"], sizes=(5,))
        message = refusal(pl.concat([mine, other]))
        assert "model 'other'): 'n_starters' must be the same in all rows of a race, got 5" in message


class TestFiles:
    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"none.parquet: the predictions cannot be read \(No such file"):
            read_predictions(tmp_path / "none.parquet")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="the predictions cannot be read"):
            read_predictions(tmp_path)

    @pytest.mark.parametrize("kept", [0, 3, 100, -20])
    def test_damaged_file(self, frame: pl.DataFrame, tmp_path: Path, kept: int) -> None:
        path = tmp_path / "file.parquet"
        write_predictions(path, frame)
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(DataError, match=r"file.parquet: is no Parquet file that can be read .*Give the Parquet"):
            read_predictions(path)

    def test_other_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file.csv"
        path.write_text("race_id,driver_id\n")
        with pytest.raises(DataError, match="is no Parquet file"):
            read_predictions(path)

    def test_bad_table_is_not_written_and_leaves_the_old_file(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        path = tmp_path / "file.parquet"
        path.write_bytes(b"old")
        with pytest.raises(DataError, match=r"file.parquet, row 1 .*'p_win' must be"):
            write_predictions(path, replaced(frame, 0, p_win=0.99))
        assert path.read_bytes() == b"old"

    def test_place_that_cannot_be_written(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ArtefactError, match="cannot be written"):
            write_predictions(tmp_path / "file" / "x.parquet", frame)


class TestPredictionRows:
    def test_rows_of_a_forecast(self, archive: RaceArchive) -> None:
        snapshot = archive.snapshot("2000_race_2", AfterLap(6))
        n = len(snapshot.driver_ids)
        probs = np.random.default_rng(0).dirichlet(np.ones(n), size=n)
        finish, seen = np.linspace(0.1, 0.9, n), np.arange(n) % 2 == 0
        rows = prediction_rows(snapshot, 0.5, "mine", probs, finish, seen)
        assert_frame_equal(validate_predictions(rows, "x"), rows)
        assert rows["driver_id"].to_list() == snapshot.driver_ids
        assert np.array_equal(np.array(rows["position_probs"].to_list()), probs)
        assert rows["p_finish"].to_list() == finish.tolist()
        assert rows["has_image"].to_list() == seen.tolist()
        first = rows.row(0, named=True)
        expected = {"race_id": "2000_race_2", "model": "mine", "horizon": "lap_6", "fraction": 0.5, "cutoff_lap": 6}
        assert {name: first[name] for name in expected} == expected
        assert first["p_podium"] == pytest.approx(probs[0, :3].sum(), abs=1e-8)
        assert first["expected_position"] == pytest.approx((probs[0] * np.arange(1, n + 1)).sum(), abs=1e-6)
        means = probs @ np.arange(1, n + 1)
        assert rows["predicted_rank"].to_list() == [1 + int((means < mean).sum()) for mean in means]

    def test_without_finish_before_the_race(self, archive: RaceArchive) -> None:
        snapshot = archive.snapshot("2000_race_2", PreRace())
        n = len(snapshot.driver_ids)
        rows = prediction_rows(snapshot, 0.0, "mine", np.full((n, n), 1 / n), None, np.zeros(n, dtype=bool))
        assert rows["p_finish"].null_count() == n
        assert_frame_equal(validate_predictions(rows, "x"), rows)

    def test_wrong_shape(self, archive: RaceArchive) -> None:
        snapshot = archive.snapshot("2000_race_2", PreRace())
        with pytest.raises(
            DataError, match=r"must have shapes \(8, 8\), \(8,\) and \(8,\), got \(8, 9\), \(8,\), \(7,"
        ):
            prediction_rows(snapshot, 0.0, "mine", np.full((8, 9), 1 / 9), None, np.zeros(7, dtype=bool))

    def test_finished_race_is_no_forecast(self, archive: RaceArchive) -> None:
        snapshot = archive.snapshot("2000_race_2", FullRace())
        with pytest.raises(DataError, match="a snapshot of the finished race is no forecast"):
            prediction_rows(snapshot, 1.0, "mine", np.full((8, 8), 1 / 8), None, np.zeros(8, dtype=bool))
