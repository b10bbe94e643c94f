"""The engine that works on a Ray cluster: one that is running, or one of this machine alone, started for the purpose.

Every machine of a cluster needs the same program and libraries, and must see the same folders under the same paths;
both are checked where a piece of work begins. Knows nothing of races, pictures or models.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from f1_predict.errors import ConfigError, F1PredictError
from f1_predict.scale.code import digest_of_code
from f1_predict.scale.engine import Engine, Item, Result

logger = logging.getLogger(__name__)

ADDRESS = "RAY_ADDRESS"
"""Environment variable with the address of a running cluster, as Ray's own tools have it."""
RETRIES = 5
"""How often a piece of work is done again after its process or machine was lost."""
CONNECT_S = 10.0
"""How long to wait for a cluster."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Shared memory of a Ray that is started here: what is on its way is small."""
_LIBRARIES = ("lightgbm", "matplotlib", "numpy", "openvino", "pillow", "polars", "scikit-learn", "scipy", "torch")


class RayEngine(Engine):
    """Works on the Ray cluster that this process is connected to, one CPU a piece of work.

    Work that is lost with a process or a machine is done again by the others, up to RETRIES times; machines may come
    and go. Only the machine of this process must stay.
    """

    def __init__(self) -> None:
        self._ray = _import_ray()
        self._site = Site(str(Path.cwd()), fingerprint())

    @classmethod
    @contextmanager
    def open(cls, processes: int) -> Iterator[RayEngine]:
        """Connect to the cluster at RAY_ADDRESS, or start Ray on this machine, and leave it afterwards.

        A Ray that is started here listens on the loopback interface only; no dashboard is served and no usage is
        reported.

        Args:
            processes: of a Ray that is started here.

        Raises:
            ConfigError: if Ray is not installed, or the cluster does not answer.
            F1PredictError: if Ray does not start.
        """
        address = os.environ.get(ADDRESS)
        if address is None:
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's switch for the loopback interface alone
            if "RAY_AUTH_MODE" not in os.environ:  # else Ray keeps a token in the home folder
                os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
        ray = _import_ray()
        folder = tempfile.mkdtemp(prefix="f1-ray-")  # the paths of Ray's sockets must be short
        try:
            if address is None:
                _start(ray, processes, folder)
            else:
                _join(ray, address)
            try:
                yield cls()
            finally:
                ray.shutdown()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def unordered(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, gpu: bool = False
    ) -> Generator[tuple[int, Result]]:
        """See Engine. Twice as many items as there are CPUs are on their way, so that no machine waits for this one.

        With `gpu`, the cluster's CPUs share its GPUs.

        Raises:
            ConfigError: if `gpu` is asked for and the cluster has none.
        """
        ray, exceptions = self._ray, self._ray.exceptions
        task = ray.remote(_work).options(num_cpus=1, num_gpus=self._gpu_share() if gpu else 0, max_retries=RETRIES)
        known = [ray.put((self._site, function))]  # in a list, so that a process fetches it once, not once an item
        source = enumerate(items)
        pending: dict[Any, int] = {}
        cpus = 0
        try:
            while True:
                cpus, before = self._cpus(), cpus
                if cpus < before:
                    logger.warning(
                        "%d of %d CPUs of the Ray cluster are gone; their work is done again", before - cpus, before
                    )
                for number, item in islice(source, max(0, 2 * cpus - len(pending))):
                    pending[task.remote(known, item)] = number
                if not pending:
                    return
                ready, _ = ray.wait(list(pending), num_returns=1)
                for reference in ready:
                    number = pending.pop(reference)
                    try:
                        result, told = ray.get(reference)
                    except exceptions.RayTaskError as error:
                        raise error.cause from error
                    except exceptions.RayError as error:
                        raise F1PredictError(
                            f"item {number} was lost with its process or machine, and so were {RETRIES} attempts to do "
                            f"it again ({str(error).splitlines()[0]}). Most likely memory ran out: run it again with "
                            "fewer processes; what is finished is kept."
                        ) from error
                    for name, level, message in told:
                        logging.getLogger(name).log(level, "%s", message)
                    yield number, result
        finally:
            for reference in pending:
                ray.cancel(reference)

    def _cpus(self) -> int:
        """Of all machines there are now; 1 while there is none."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _gpu_share(self) -> float:
        gpus = float(self._ray.cluster_resources().get("GPU", 0.0))
        if gpus == 0.0:
            raise ConfigError("no machine of the Ray cluster has a GPU. Set the encoder's device to 'cpu'.")
        return min(1.0, gpus / self._cpus())


def _start(ray: Any, processes: int, folder: str) -> None:
    try:
        ray.init(
            "local",
            num_cpus=processes,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            _temp_dir=folder,
            _system_config={"task_oom_retries": RETRIES},
        )
    except Exception as error:  # Ray has no class of its own for it
        ray.shutdown()
        raise F1PredictError(
            f"Ray did not start on this machine ({str(error).splitlines()[0]}). Try again when the machine is less "
            "busy, or use --engine local."
        ) from error


def _join(ray: Any, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal() and "/" not in host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        ray.init(address, configure_logging=False, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}). Start one with `ray start --head`, "
            f"or unset {ADDRESS} to work on this machine."
        ) from error


@dataclass(frozen=True)
class Site:
    """Where this process works and with what: the same must be found where its work is done.

    Attributes:
        folder: the current one, which relative paths start from.
        program: `fingerprint()`.
    """

    folder: str
    program: str

    def enter(self) -> None:
        """Make another process, perhaps of another machine, work as this one.

        Raises:
            ConfigError: if it has another program, or does not see the folder.
        """
        where = f"machine {socket.gethostname()} of the Ray cluster"
        if fingerprint() != self.program:
            raise ConfigError(
                f"{where} has another version of f1-predict or of a library, so it may give other results. "
                "Install the same on all machines."
            )
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise ConfigError(
                f"{where} cannot enter {self.folder} ({error.strerror}). All machines must see the same folders under "
                "the same paths."
            ) from error


@cache
def fingerprint() -> str:
    """SHA-256 of this program's code and of the versions of the libraries that results depend on."""
    return digest_of_code(_LIBRARIES)


def _work(known: list[Any], item: Item) -> tuple[Any, list[tuple[str, int, str]]]:
    """Runs where Ray puts it; the result, and what was warned of meanwhile."""
    warnings = _Warnings(logging.WARNING)
    logging.getLogger().addHandler(warnings)
    try:
        return _prepared(known[0])(item), warnings.told
    finally:
        logging.getLogger().removeHandler(warnings)


class _Warnings(logging.Handler):
    """Keeps logger, level and text."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.told: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append((record.name, record.levelno, record.getMessage()))


@lru_cache(maxsize=1)
def _prepared(reference: Any) -> Callable[[Any], Any]:
    """The function, fetched by this process once, with the process made ready for it."""
    site, function = _import_ray().get(reference)
    site.enter()
    return function  # type: ignore[no-any-return]


def _import_ray() -> Any:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_IGNORE_UNHANDLED_ERRORS": "1"}  # errors are told once, here
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "the engine 'ray' needs Ray, which is not installed. Install it with `pip install 'f1-predict[scale]'`, "
            "or use --engine local."
        ) from error
    return ray
