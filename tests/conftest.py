"""What the tests share: the digits, the weights, and every port of the registry.

A test that takes `port_name` runs once for each port and mode in `lenet.ports.FRAMEWORKS`, one that
takes `port` also in each dtype: a new registry line gets every such test. Where a framework is missing
the test is skipped, except under CI: there it fails, since nothing may be skipped in silence.
"""

import atexit
import os
import shutil
import tempfile

# Two processes share the cores (pytest -n): more threads than cores wait for each other, spinning. Read
# by each library when it is imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "PJRT_NPROC"):
    os.environ.setdefault(variable, "1")
# What XLA compiles is kept for one run, for all its processes: pytest's own, and those that tests start.
KEPT = "LENET_TESTS_COMPILED"  # names the folder, which the first process makes and removes
if KEPT not in os.environ:
    os.environ[KEPT] = tempfile.mkdtemp(prefix="lenet-tests-")
    atexit.register(shutil.rmtree, os.environ[KEPT], ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ[KEPT] + "/jax"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={os.environ[KEPT]}/tf"

import gc
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

from lenet import ports
from lenet.network import weights
from lenet.network.digits import Digits, test_set
from lenet.ports import Port
from lenet.ports.memory import keep_freed
from lenet.ports.registry import import_triton
from parity.errors import MissingFramework
from tests.lenet.show import report_reader

keep_freed()  # 10,000 digits pass through every port
import_triton()  # some tests import TensorFlow by themselves
# A suite that is started in the background ignores Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a first call compiles. No database: nothing is left behind in the tree.
hypothesis.settings.register_profile("lenet", deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("lenet"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "lenet")

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

OpenPort = Callable[..., Port]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --all-digits`: every port is given all 10,000. `make quick` is `pytest --quick`."""
    parser.addoption("--all-digits", action="store_true", help="give every port all 10,000 digits")
    parser.addoption("--quick", action="store_true", help="the first case of each test that is not slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`--quick` leaves out the notebooks: their solutions import every framework."""
    return True if config.getoption("--quick") and collection_path.name == "workshop" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a port, by its line in the registry, cannot do: other tests judge it in what it can."""
    kept = [item for item in items if not beyond(item)]
    if config.getoption("--quick"):
        first: dict[str, pytest.Item] = {}
        for item in sorted(kept, key=which_case):
            first.setdefault(item.nodeid.partition("[")[0], item)
        kept = [item for item in kept if first[item.nodeid.partition("[")[0]] is item and not is_slow(item)]
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadFileScheduling | None":
    """Files that need the same expensive thing run in one process."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.scheduling import Scheduling

    return Scheduling(config, log)


def is_slow(item: pytest.Item) -> bool:
    """Whether it is marked so, or opens a browser."""
    return bool(item.get_closest_marker("slow")) or "browser" in getattr(item, "fixturenames", ())


def which_case(item: pytest.Item) -> list[int]:
    """The place of each parameter among its values."""
    called = getattr(item, "callspec", None)
    return [] if called is None else list(called.indices.values())


def pytest_collection_finish() -> None:
    """Spare the garbage collector what lives as long as the session: thousands of tests."""
    gc.collect()
    gc.freeze()


def beyond(item: pytest.Item) -> bool:
    """Whether a test asks a port for a type that it does not compute in, or, with the mark `one_winner`, for
    one winner of each tie where its choice is another."""
    called = getattr(item, "callspec", None)
    if called is None or "port_name" not in called.params:
        return False
    line = ports.framework(called.params["port_name"])
    asked = {str(value) for value in called.params.values()} & {"float32", "float64"}
    return not asked <= set(line.dtypes) or bool(line.choices and item.get_closest_marker("one_winner"))


def unavailable(reason: str) -> None:
    """Skip the test because something is not installed; under CI, fail it instead."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@cache
def _open(name: str, dtype: str) -> Port:
    return ports.open_port(name, dtype)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The 10,000 test digits; nobody may write into them."""
    digits = test_set()
    digits.images.setflags(write=False)
    digits.labels.setflags(write=False)
    return digits


@pytest.fixture(scope="session")
def params() -> dict[str, np.ndarray]:
    """The trained weights; nobody may write into them."""
    params = weights.read()
    for array in params.values():
        array.setflags(write=False)
    return params


@pytest.fixture(scope="session")
def open_port() -> OpenPort:
    """`lenet.ports.open_port`, each (name, dtype) opened once in a session, so that it compiles once.

    A port keeps its weights from one test to the next: `load` before use.
    """

    def opened(name: str, dtype: str = "float32") -> Port:
        try:
            return _open(name, dtype)
        except MissingFramework as missing:
            unavailable(str(missing))
            raise

    return opened


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """The system's Chromium without a window; it is never let out to the network by itself."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        unavailable("no browser to try the page in: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("no playwright to drive the browser: pip install 'lenet-migrations[dev]'")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=quiet, timeout=240_000)
        yield chromium
        chromium.close()


@pytest.fixture(params=ports.names())
def port_name(request: pytest.FixtureRequest, open_port: OpenPort) -> str:
    """Each port and mode of the registry whose framework is installed."""
    open_port(request.param)
    return request.param


@pytest.fixture
def finest(port_name: str) -> str:
    """The finest type that the port computes in: where bounds are tightest."""
    return ports.framework(port_name).dtypes[-1]


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """What a port computes in."""
    return request.param


@pytest.fixture
def port(port_name: str, dtype: str, open_port: OpenPort, params: dict[str, np.ndarray]) -> Port:
    """Each port and mode, in each dtype, with the trained weights and a velocity of zero."""
    port = open_port(port_name, dtype)
    port.load(params)
    return port


@pytest.fixture(scope="session")
def report_address(tmp_path_factory: pytest.TempPathFactory, open_port: OpenPort) -> str:
    """The report page as the command writes it, to be opened from disk."""
    for name in report_reader.PORTS:
        open_port(name)
    return report_reader.write_report(tmp_path_factory.mktemp("page") / "report.html")
