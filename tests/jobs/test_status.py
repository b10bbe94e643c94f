"""What is there and what is missing, season by season, with the command that gets it; and the new commands' errors."""

from __future__ import annotations

import hashlib
import io
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from f1_predict.cli import main
from f1_predict.jobs.status import show_status
from f1_predict.tables import SIMULATED, ingest, read_store, write_store
from f1_predict.tables.status import coverage, gaps
from tests.conftest import REPOSITORY
from tests.small_tables import random_tables
from tests.tables import foreign

COMMANDS = (["fetch"], ["update"], ["data", "status"], ["entries", "template"], ["entries", "add"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("status")
    races = foreign.ERGAST["races.csv"] + "12,2021,1,1,Coming Grand Prix,2021-03-01,x\n"
    ergast = foreign.ergast(folder, races=races)
    write_store(ingest(ergast, foreign.f1db(folder), foreign.fastf1(folder)).tables, folder / "processed")
    return folder / "processed"


def test_each_race_has_what_it_has_and_lacks_what_could_be_had(store: Path) -> None:
    found = coverage(read_store(store), date(2020, 6, 1))
    rows = {row["race_id"]: row for row in found.iter_rows(named=True)}
    kinds = ("entries", "results", "course", "laps", "tyres", "weather")
    assert [rows["1955_race_1"][kind] for kind in kinds] == [True, True, False, None, None, None]
    assert [rows["2020_race_1"][kind] for kind in kinds] == [True, True, True, True, True, True]
    assert [rows["2020_race_2"][kind] for kind in kinds] == [True, True, True, True, False, False]
    assert [rows["2021_race_1"][kind] for kind in kinds] == [None, None, False, None, None, None]
    late = coverage(read_store(store), date(2021, 3, 2)).row(3, named=True)
    assert [late[kind] for kind in kinds] == [False, False, False, False, False, False]


def test_gaps_come_with_the_command_that_fills_them(store: Path) -> None:
    found = [str(gap) for gap in gaps(coverage(read_store(store), date(2020, 6, 1)), " --out x")]
    assert found == [
        "1955: no course of any race -> f1-predict update --seasons 1955 --source jolpica,f1db --out x",
        "2020: no tyres of round 2 -> f1-predict update --seasons 2020 --source jolpica,fastf1 --out x",
        "2020: no weather of round 2 -> f1-predict update --seasons 2020 --source jolpica,fastf1 --out x",
        "2021: no course of any race -> f1-predict update --seasons 2021 --source jolpica,f1db --out x",
    ]


def status(store: Path, folder: Path, seasons: tuple[int, int] | None = None) -> str:
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    show_status(console, store, folder / "traces", folder / "embeddings", seasons, date(2020, 6, 1))
    return " ".join(shown.getvalue().split())


def shard(folder: Path, name: str, pictures: list[bytes]) -> None:
    """Embeddings of pictures, as the cache keeps them."""
    keys = np.frombuffer(b"".join(hashlib.sha256(each).digest() for each in pictures), np.uint8).reshape(-1, 32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"digests": keys, "vectors": np.zeros((len(keys), 4), np.float32)}, folder / f"{name}.safetensors")


def test_picture_files_and_their_embeddings_are_counted_by_race_and_all_embeddings_in_total(
    store: Path, tmp_path: Path
) -> None:
    shown = status(store, tmp_path)
    assert "│ 2020 │ 2 │ 2 of 2 │ 2 of 2 │ 2 of 2 │ 2 of 2 │ 1 of 2 │ 1 of 2 │ 0 of 2 │ - │" in shown
    assert "2020: no pictures of any race -> f1-predict traces --seasons 2020 --data" in shown
    assert f"embeddings: none in {tmp_path}/embeddings" in shown
    for race_id, cut in (("2020_race_1", "pre_race"), ("2020_race_1", "lap_2"), ("2020_race_2", "pre_race")):
        picture = tmp_path / "traces" / race_id / cut / "perez.png"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(f"{race_id} {cut}".encode())
    files = [f"2020_race_1 {cut}".encode() for cut in ("pre_race", "lap_2")]
    shard(tmp_path / "embeddings/one", "a", files)
    shard(tmp_path / "embeddings/one", "c", [*files, *(f"cut {n}".encode() for n in range(1500))])
    (tmp_path / "embeddings/one/b.safetensors").write_bytes(b"damaged")
    shown = status(store, tmp_path)
    assert "│ 1 of 2 │ 1 of 2 │ 2 of 2 │ 1 of 2 │" in shown
    assert "2020: no embeddings of round 2 -> f1-predict dataset" in shown
    all_of_them = f"in {tmp_path}/embeddings, those of cuts without picture files (backtest) included"
    assert f"embeddings: 1,502 {all_of_them}" in shown
    shard(tmp_path / "embeddings/two", "a", files)
    assert f"embeddings: 1,504 by 2 encoders {all_of_them}" in status(store, tmp_path)


def test_one_season_shows_its_races(store: Path, tmp_path: Path) -> None:
    shown = status(store, tmp_path, (2020, 2020))
    assert "│ 2020_race_2 Beta Grand Prix │ yes │ yes │ yes │ yes │ missing │ missing │ missing │ - │" in shown
    assert "1955" not in shown


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_ends_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: f1-predict {' '.join(command)}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "--seasons", "2x"], "error: seasons must be given as 1996-2024 or 2024, got '2x'.\n"),
        (["fetch", "--seasons", "1900"], "error: seasons must lie between 1950 and "),
        (
            ["fetch", "--seasons", "2020", "--source", "ergast"],
            "error: --source must name some of jolpica, fastf1, f1db",
        ),
        (["update"], "there is no store to update. Begin with 'f1-predict fetch --seasons "),
        (["data", "status"], "there is no processed store here"),
        (["entries", "template", "--race", "2025_race_3"], "there is no processed store here"),
        (["entries", "add", "--race", "2025_race_3", "--file", "x.csv"], "x.csv: it cannot be read (No such file"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_entry_list_from_template_to_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, data = str(tmp_path / "mine.csv"), ["--data", str(store)]
    assert main(["entries", "template", "--race", "2021_race_1", "--out", file, *data]) == 0
    assert main(["entries", "template", "--race", "2021_race_1", "--out", file, *data]) == 1
    assert "is there already, and may hold your entries" in capsys.readouterr().err
    filled = Path(file).read_text().replace("perez,red,11,", "perez,red,11,1").replace("sainz,red", "sainz,green")
    Path(file).write_text(filled)
    assert main(["entries", "add", "--race", "2021_race_1", "--file", file, *data]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Note: constructor 'green' is new to the store." in shown
    assert "2021_race_1 completed: 3 entries from an entry list" in shown
    entries = read_store(store).entries.filter(race_id="2021_race_1")
    assert dict(entries.select("driver_id", "grid").iter_rows()) == {"ambrosio": 0, "perez": 1, "sainz": 0}


def test_the_page_on_data_names_commands_and_options_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs/data.md").read_text()
    found = re.findall(r"(?:^|`)f1-predict ([a-z ]+?) *(--[^`#\n]*)?(?:`|#|$)", page, flags=re.MULTILINE)
    assert {name for name, _ in found} == {
        "ingest",
        "fetch",
        "update",
        "data status",
        "entries template",
        "entries add",
    }
    for name, options in found:
        assert main([*name.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        assert [option for option in re.findall(r"--[a-z]+", options) if option not in shown] == []


def test_a_simulated_store_is_not_sent_to_the_services(tmp_path: Path) -> None:
    write_store(random_tables(3), tmp_path / "processed", source=SIMULATED)
    shown = status(tmp_path / "processed", tmp_path)
    assert "fetch" not in shown
    assert "no pictures of rounds 1, 2, 4 -> f1-predict traces --seasons 2000 --data" in shown
