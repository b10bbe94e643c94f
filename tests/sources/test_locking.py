"""One writer at a time, and a lock that ends with its process."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from f1_predict.errors import StoreError
from f1_predict.sources.locking import exclusive, is_free, lock_file
from tests.conftest import REPOSITORY

HOLDER = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_another_process_is_refused_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-S", "-c", HOLDER, str(lock_file(store))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not is_free(store)
        told = r"store: another f1-predict is writing this store now\. Wait until it is"
        with pytest.raises(StoreError, match=told), exclusive(store, "store"):
            pass
        holder.kill()
    assert is_free(store)
    with exclusive(store, "store"):
        assert lock_file(store).exists()
    assert not lock_file(store).exists()


def test_who_holds_it_may_take_it_again_and_others_may_not(tmp_path: Path) -> None:
    free: list[bool] = []
    with exclusive(tmp_path / "store", "store"), exclusive(tmp_path / "store", "store"):
        thread = threading.Thread(target=lambda: free.append(is_free(tmp_path / "store")))
        thread.start()
        thread.join()
        assert is_free(tmp_path / "store")
    assert free == [False]
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / "store", "store"):
        raise KeyError("x")
    assert is_free(tmp_path / "store")
    with exclusive(tmp_path / "store", "store"):
        pass


WITHOUT_FCNTL = """
import sys, warnings
sys.modules["fcntl"] = sys.modules["resource"] = None
warnings.simplefilter("ignore")  # the lock is another one then, and says so
from pathlib import Path
from f1_predict.errors import StoreError
from f1_predict.sources.locking import exclusive, is_free
store = Path(sys.argv[1])
with exclusive(store, "store"):
    print(is_free(store))
print(is_free(store), list(store.parent.iterdir()))
"""


def test_there_is_a_lock_where_there_is_no_fcntl(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path / "store")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("True\nTrue []\n", "")


def test_no_module_needs_what_only_some_systems_have() -> None:
    """An import that stands free at a module's top would keep Windows from all of it."""
    alien = re.compile(r"^(?:import|from) (?:fcntl|grp|posix|pwd|resource|termios|tty)\b", flags=re.MULTILINE)
    files = sorted((REPOSITORY / "src").rglob("*.py"))
    assert len(files) > 100
    assert [file.name for file in files if alien.search(file.read_text(encoding="utf-8"))] == []


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = r"cannot be written \(.*\)\. Free the place, or choose another"
    with pytest.raises(StoreError, match=told), exclusive(tmp_path / "file" / "store", "store"):
        pass
