"""What an engine promises, by the one of this machine."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Generator, Iterator
from functools import partial

import pytest

from f1_predict.cli import main
from f1_predict.errors import F1PredictError, NotFoundError, SourceFileError
from f1_predict.scale import Engine, EngineKind, LocalEngine, open_engine
from tests.scale import work


class Backwards(Engine):
    """Finishes the last item first."""

    def unordered(self, function, items, *, gpu: bool = False) -> Generator[tuple[int, object]]:
        for number, item in reversed(list(enumerate(items))):
            yield number, function(item)


class TestOrder:
    def test_map_gives_the_order_of_the_items_however_they_are_done(self) -> None:
        assert list(Backwards().map(work.double, range(5))) == [0, 2, 4, 6, 8]
        assert [number for number, _ in Backwards().unordered(work.double, range(3))] == [2, 1, 0]

    def test_two_processes_give_what_this_one_gives(self) -> None:
        engine = LocalEngine(2)
        assert list(engine.map(work.double, range(9))) == list(LocalEngine().map(work.double, range(9)))
        found = {pid for pid, _ in engine.map(work.here, range(4))}
        assert os.getpid() not in found

    def test_items_are_drawn_as_they_are_worked(self) -> None:
        drawn: list[int] = []

        def items() -> Iterator[int]:
            for number in range(100):
                drawn.append(number)
                yield number

        results = LocalEngine().map(work.double, items())
        assert next(results) == 0
        assert drawn == [0]


class TestErrors:
    def test_what_the_function_raises_arrives_as_it_was(self) -> None:
        with pytest.raises(SourceFileError, match=r"^laps.csv, line 3: there is no 3\. Add one\.$") as caught:
            list(LocalEngine(2).map(work.fail, range(8)))
        assert caught.value.row == 3

    def test_a_lost_process_is_told(self) -> None:
        with pytest.raises(F1PredictError, match=r"a working process was ended from outside.*--workers 1"):
            list(LocalEngine(2).map(work.die, range(4)))

    @pytest.mark.parametrize(
        "error",
        [NotFoundError("race", "2024_rac", ["2024_race_1"]), SourceFileError("no", file="a", remedy="b", column="c")],
    )
    def test_errors_travel_between_processes(self, error: F1PredictError) -> None:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


class TestOpening:
    def test_local_means_that_each_step_has_processes_of_its_own(self) -> None:
        with open_engine(EngineKind.local, 2) as engine:
            assert engine is None

    def test_without_ray_the_remedy_is_told(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        assert main(["traces", "--engine", "ray"]) == 1
        assert "pip install 'f1-predict[scale]'" in capsys.readouterr().err

    def test_a_partial_is_a_function(self) -> None:
        assert list(LocalEngine().map(partial(pow, exp=2), [1, 2, 3])) == [1, 4, 9]
