"""A plug-in of pytest that tries changes: it collects the tests once, and forks a process for each change.

A child chooses its change by the variable that mutmut's code reads, and runs the tests that reach the changed
function, fastest first, until one fails. Verdicts are kept where `mutmut browse` and `mutmut show` find them.
What is computed while tests are collected is computed without any change.
"""

import functools
import hashlib
import json
import math
import os
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

import hypothesis
import pytest
from _pytest.runner import runtestprotocol
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import mangled_name_from_mutant_name

# What mutmut calls these exit codes is in brackets.
SURVIVED, NOTICED, UNREACHED, UNFINISHED, HANGS = 0, 1, 33, 35, 36  # (35: "suspicious", 36: "timeout")
NOTES = Path("reached.json")
FAILED = Path("failed.txt").absolute()  # the test that failed last
MEMORY = 8 * 2**30  # a change may ask for any shape

Notes = dict[str, tuple[float, list[str]]]  # of each test: its seconds, the functions that it reaches
MADE: dict[object, set[str]] = {}  # of each fixture that several tests share: the functions that it reaches


def pytest_addoption(parser: pytest.Parser) -> None:
    """How `python -m tests.mutants` tells what to try."""
    parser.addoption(
        "--changes", type=Path, help="names of changes and their files, one a line, in this order"
    )
    parser.addoption("--limit", type=float, help="seconds for the tests of one change")
    parser.addoption("--children", type=int, help="how many changes to try at a time")


def pytest_configure() -> None:
    """What fails need not be shrunk, and is not to fail because another process has the core."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutants", phases=phases, suppress_health_check=list(hypothesis.HealthCheck)
    )
    hypothesis.settings.load_profile("mutants")
    config()  # mutmut's, read while the folder is the right one


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
    """Note what a fixture reaches: made once, it is there for all tests that use it."""
    before = set(state()._stats)
    state()._stats.clear()
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            MADE[fixturedef] = set(state()._stats)
        state()._stats.update(before)


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Try each change, instead of running each test."""
    if session.testsfailed:  # while they were collected
        raise session.Interrupted("tests cannot be collected")
    options = session.config.option
    before = NOTES.read_text() if NOTES.exists() else ""
    notes = noted(session.items)
    if NOTES.read_text() != before:
        check_without_change(sorted(session.items, key=lambda test: notes[test.nodeid][0]), notes)
    tests = {item.nodeid: item for item in session.items}
    reaching: dict[str, list[pytest.Item]] = defaultdict(list)
    for name in sorted(notes, key=lambda name: notes[name][0]):
        for function in notes[name][1]:
            reaching[function].append(tests[name])
    changes = [line.split() for line in options.changes.read_text().splitlines()]
    running: dict[int, tuple[str, str, float]] = {}
    for number, (name, path) in enumerate(changes, 1):
        print(f"\r{number} of {len(changes)}", end="", flush=True)
        while len(running) >= options.children:
            wait_for_one(running)
        chosen = reaching[mangled_name_from_mutant_name(name)]
        attempt = functools.partial(verdict, name, chosen, notes, options.limit)
        running[forked(attempt)] = (name, path, time.monotonic())
    while running:
        wait_for_one(running)
    return True


def forked(work: Callable[[], int]) -> int:
    """The process that does this work; what it returns is its exit code. Nothing that it does stays here."""
    if process := os.fork():
        return process
    code = NOTICED
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = work()
    finally:
        os._exit(code)


def waited_for(process: int) -> int:
    """The exit code of a process, when it ends."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def verdict(change: str, tests: list[pytest.Item], notes: Notes, limit: float) -> int:
    """Whether one of these tests notices the change."""
    if not tests:
        return UNREACHED
    os.environ["MUTANT_UNDER_TEST"] = change
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends this process, wherever it is
    start = time.monotonic()
    for test, following in zip(tests, [*tests[1:], None], strict=True):
        if time.monotonic() - start > limit:
            return UNFINISHED
        signal.setitimer(signal.ITIMER_REAL, 20 + 20 * notes[test.nodeid][0])
        if fails(test, following):
            FAILED.write_text(test.nodeid)
            return NOTICED
    return SURVIVED


def fails(test: pytest.Item, following: pytest.Item | None) -> bool:
    """Whether the test fails, now that it runs."""
    return any(report.failed for report in runtestprotocol(test, log=False, nextitem=following))


def wait_for_one(running: dict[int, tuple[str, str, float]]) -> None:
    """Keep the verdict of the next child that ends."""
    process, status = os.wait()
    name, path, start = running.pop(process)
    code = os.waitstatus_to_exitcode(status)
    with change_cwd(".."):
        data = SourceFileMutationData(path=path)
        data.load()
        data.exit_code_by_key[name] = HANGS if code == -signal.SIGALRM else code
        data.durations_by_key[name] = time.monotonic() - start
        data.save()


def check_without_change(tests: list[pytest.Item], notes: Notes) -> None:
    """Refuse a test that fails without any change, in this order, behind the others in one process.

    It would seem to notice every change.
    """
    if waited_for(forked(functools.partial(verdict, "", tests, notes, math.inf))) != SURVIVED:
        NOTES.unlink()
        raise pytest.UsageError(f"{FAILED.read_text()} fails without any change, in another order")


def noted(tests: Iterable[pytest.Item]) -> Notes:
    """What each test reaches, and how long it takes, without any change; kept until its file changes, the
    code that it may reach, or this file."""
    kept: dict[str, Notes] = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    code = Path(__file__).read_bytes() + b"".join(
        path.read_bytes() for top in ("parity", "lenet") for path in sorted(Path(top).rglob("*.py"))
    )
    current: dict[str, Notes] = {}
    for path, of_file in groupby(tests, key=lambda test: test.path):
        some = list(of_file)
        names = "\n".join(test.nodeid for test in some)
        key = hashlib.sha256(code + path.read_bytes() + names.encode()).hexdigest()
        current[key] = kept.get(key) or noted_apart(some)
    NOTES.write_text(json.dumps(current))
    return {name: note for notes in current.values() for name, note in notes.items()}


def noted_apart(tests: list[pytest.Item]) -> Notes:
    """The same, by a process of its own: what it caches would hide the changes."""
    answer = Path("noted.json")
    code = waited_for(forked(functools.partial(note, tests, answer)))
    found = json.loads(answer.read_text())
    if code:
        raise pytest.UsageError(f"{found} fails without any change")
    return found


def note(tests: list[pytest.Item], answer: Path) -> int:
    """Write what each of these tests reaches, or which one fails."""
    told = Path("told.txt").absolute()
    os.environ |= {"MUTANT_UNDER_TEST": "stats", "MUTANTS_TOLD": str(told)}
    answer, notes = answer.absolute(), {}
    for test, following in zip(tests, [*tests[1:], None], strict=True):
        state()._stats.clear()
        told.write_text("")
        start = time.monotonic()
        if fails(test, following):
            answer.write_text(json.dumps(test.nodeid))
            return NOTICED
        reached = state()._stats | set(told.read_text().split())  # here, and in processes that it started
        shared = test._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
        reached |= {name for several in shared for one in several for name in MADE.get(one, ())}
        notes[test.nodeid] = (time.monotonic() - start, sorted(reached))
    answer.write_text(json.dumps(notes))
    return SURVIVED
