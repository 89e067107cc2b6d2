"""`lenet bench`: what is timed is checked, and the figures fit together. No test asserts a time."""

import json
import os
import subprocess
import sys
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from threadpoolctl import threadpool_info

from lenet.compare import speed as timing
from lenet.compare.speed import TASK_FLOPS, Stopwatch, bench
from lenet.network.recipe import Batch, Recipe
from lenet.show import plots, tables
from lenet_numpy.port import Port as NumpyPort
from parity.errors import UserError
from tests.helpers import BATCH, one_line
from tests.lenet.compare.timed import timed
from tests.prepared import COMMANDS, LENET, prepared


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(timing, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0)


MADE_UP = timed("a", "b", ("forward", 1, 4.0, 2.0), ("train", 1, 5.0, None))


# The command, its rounds short in its workers too: these are forks, so they have what is set here. They hold
# the other end of their own pipe as well, and would not see that it is closed.
SHORT_ROUNDS = f"""
import multiprocessing
from lenet.compare import speed
from lenet.ports.workers import Worker
speed.ROUND_SECONDS, speed.SETTLE_SECONDS = 1e-4, 0
Worker.__init__.__kwdefaults__["context"] = multiprocessing.get_context("fork")
Worker.patience = 0
{LENET}
"""


def lenet_bench(folder, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment}
    return prepared(*COMMANDS).run(SHORT_ROUNDS, "bench", *arguments, folder=folder, environment=environment)


def test_the_arithmetic_is_counted_as_by_hand():
    conv1, conv2 = 2 * 25 * 6 * 28 * 28, 2 * 150 * 16 * 10 * 10
    dense = 2 * (400 * 120 + 120 * 84 + 84 * 10)
    assert TASK_FLOPS["forward"] == conv1 + conv2 + dense
    assert TASK_FLOPS["train"] == 2 * conv1 + 3 * conv2 + 3 * dense  # nothing asks for the images' gradient


def test_ratios_are_to_the_fastest_and_to_the_limit():
    assert MADE_UP.fastest("forward", 1) == 2
    assert MADE_UP.fastest("forward", 64) == np.inf
    assert MADE_UP.limit("forward") == pytest.approx(1, rel=4 * 2**-53)  # one division and one product
    found = {(row["port"], row["task"]): row for row in MADE_UP.to_json()["timings"]}
    assert [found["a", "forward"][key] for key in ("over_fastest", "microseconds_per_digit")] == [2, 4]
    assert found["b", "forward"]["over_fastest"] == 1
    assert found["b", "forward"]["over_limit"] == 2 / MADE_UP.limit("forward")
    assert found["b", "train"]["over_fastest"] is found["b", "train"]["over_limit"] is None
    json.dumps(MADE_UP.to_json(), allow_nan=False)


def test_the_table_has_every_ratio_and_a_dash_for_what_cannot_be():
    shown = StringIO()
    Console(width=80, file=shown).print(tables.bench(MADE_UP))
    text = shown.getvalue()
    for expected in ("4.0", "2.0× 4.0×", "1.0× 2.0×", "limit", " 833 ", "GFLOP/s", "2 threads"):
        assert expected in text
    assert [line.split() for line in text.splitlines() if line.startswith("b ")][1] == ["b", "-"]


@pytest.mark.slow
def test_every_port_is_timed_at_every_size_in_both_tasks(open_port, params, digits):
    steps: list[str] = []
    opened = [open_port("numpy:fast"), open_port("onnx:numpy/reference")]
    watches = [Stopwatch([port], params, digits) for port in opened]
    order = [port.name for port in opened]
    found = bench(watches, order, sizes=(1, 3), rounds=2, threads=1, progress=steps.append)
    rows = [(row.port, row.task, row.batch, row.microseconds is None) for row in found.timings]
    assert rows == [
        (port.name, task, size, port.name[:4] == "onnx" and task == "train")
        for size in (1, 3)
        for task in ("forward", "train")
        for port in opened
    ]
    assert len(steps) == 2 * 2 * (2 + 1)
    assert found.gflops > 0
    assert all(row.microseconds is None or row.microseconds > 0 for row in found.timings)


def row(**changed: object) -> dict:
    return {"timings": [MADE_UP.to_json()["timings"][0] | changed]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (row(task="fly"), "an unknown task 'fly'"),
        (row(batch=0), "a batch that is not from 1"),
        (row(batch=10**30), "a batch that is not from 1"),
        (row(batch=float("inf")), "not a file of `lenet bench --json`"),
        (row(port="$x^{_$"), "a port or a version '$x^{_$'"),
        (row(port="\ud800"), "a port or a version"),
        (row(port="x" * 10**5), "a port or a version"),
        (row(version="\x1b[31m"), "a port or a version"),
        (row(microseconds_per_digit=10**400), "not a file of `lenet bench --json`"),
        (row(microseconds_per_digit=1e-320), "an invalid time"),
        ({"sgemm_gflops": float("nan")}, "an invalid time"),
        ({"threads": float("inf")}, "not a file of `lenet bench --json`"),
        ({"timings": []}, "no timings"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_figures_of_unknown_origin_are_refused_in_one_line(changed, said, tmp_path):
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(MADE_UP.to_json() | changed))
    with pytest.raises(UserError) as refusal:
        timing.read(file)
    assert said in one_line(refusal)
    assert len(one_line(refusal)) < 300


@pytest.mark.parametrize("text", ["[" * 10**5 + "]" * 10**5, "[]", '{"threads": 1' + "0" * 5000 + "}"])
def test_json_of_another_kind_is_refused_in_one_line(text, tmp_path):
    file = tmp_path / "bench.json"
    file.write_text(text)
    with pytest.raises(UserError, match="not a file of `lenet bench --json`") as refusal:
        timing.read(file)
    one_line(refusal)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_limit_is_that_of_as_many_threads(threads, monkeypatch):
    seen = []
    monkeypatch.setattr(np, "matmul", lambda *_, **__: seen.extend(threadpool_info()))
    timing.large_product(threads)()
    assert {pool["num_threads"] for pool in seen if pool["user_api"] == "blas"} == {threads}


class Wrong(NumpyPort):
    """Right logits, and a wrong answer where the stopwatch stands; counts how often it was asked."""

    def __init__(self, what: str) -> None:
        super().__init__("numpy")
        self.what, self.asked = what, 0

    def _forward(self, inputs):
        self.asked += 1
        return super()._forward(inputs) * np.float32(1.001 if self.what == "forward" else 1)

    def _step(self, inputs, targets, rate):
        self.asked += 1
        return super()._step(inputs, targets, rate) + (np.nan if self.what == "loss" else 0)


@pytest.mark.parametrize(("what", "asked"), [("forward", 1), ("loss", 1)])
def test_a_port_that_computes_another_function_is_not_timed(what, asked, params, digits, monkeypatch):
    monkeypatch.setattr(timing, "TASKS", ("train",) if what == "loss" else ("forward",))
    port = Wrong(what)
    with pytest.raises(UserError, match="numpy computes another function: `lenet compare` shows") as refusal:
        bench([Stopwatch([port], params, digits)], ["numpy"], sizes=(2,), rounds=1)
    one_line(refusal)
    assert port.asked == asked


def test_a_port_that_fails_is_left_out_and_the_others_are_timed(params, digits):
    wrong, right = Wrong("forward"), NumpyPort("numpy:fast")
    watches = [Stopwatch([wrong, right], params, digits)]
    found = bench(watches, ["numpy", "numpy:fast"], sizes=(1, 2), rounds=1)
    assert {row.port for row in found.timings} == {"numpy:fast"}
    assert len(found.timings) == 4
    assert found.failed == {"numpy": "numpy computes another function: `lenet compare` shows where"}
    assert found.to_json()["failed"] == found.failed


@pytest.mark.slow
def test_a_framework_that_ends_its_process_is_left_out_and_the_others_are_timed(tmp_path):
    environment = {"XLA_FLAGS": "--nonsense"}
    result = lenet_bench(tmp_path, *["numpy", "jax", "--batch", "1", "--rounds", "1"], **environment)
    assert result.returncode == 1
    assert "numpy" in result.stdout
    assert "--nonsense" in result.stderr  # what the library said
    assert result.stderr.splitlines()[-1].startswith("left out: jax: the process of jax ended with exit code")


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_figures_from_a_device_or_a_pipe_are_refused_and_not_waited_for(place, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is no ordinary file"):
        timing.read(tmp_path / place)


def test_what_is_timed_gives_what_the_checked_methods_give(port, params, digits):
    """`inputs`, `forward`, `targets` and `one_step` are `logits` and `train`, without the checks."""
    some, recipe = digits[:BATCH], Recipe(momentum=0.5, weight_decay=0.25)
    inputs, targets = port.inputs(some.images), port.targets(some.labels)
    np.testing.assert_array_equal(port.forward(inputs), port.logits(some.images), strict=True)
    list(port.train([], recipe))
    losses = [port.one_step(inputs, targets, 0.125) for _ in range(2)]
    stepped = port.params()
    port.load(params)
    batch = Batch(some.images, some.labels, rate=0.125)
    assert losses == list(port.train([batch] * 2, recipe))
    for name, array in port.params().items():
        np.testing.assert_array_equal(array, stepped[name], err_msg=name)


# A program that runs the command with workers as they are: these are spawned, and run its first lines too.
SPAWNED = """
import multiprocessing, pathlib
from lenet.compare import speed
speed.ROUND_SECONDS, speed.SETTLE_SECONDS = 1e-4, 0
if __name__ == "__main__":
    from lenet.__main__ import main
    try:
        main()
    finally:
        assert multiprocessing.active_children() == []
pathlib.Path("worker").open("x")
"""


@pytest.mark.slow
def test_the_command_writes_table_json_and_plot(tmp_path):
    (tmp_path / "program.py").write_text(SPAWNED)
    arguments = "numpy numpy:fast --batch 2 --batch 1 --rounds 1 --threads 1 --json b.json --plot b.svg"
    command = [sys.executable, "program.py", "bench", *arguments.split()]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert (tmp_path / "worker").exists()  # one for both, as they have one framework
    found = json.loads((tmp_path / "b.json").read_text())
    assert (found["threads"], found["rounds"], found["limit"].keys()) == (1, 1, {"forward", "train"})
    assert [row["batch"] for row in found["timings"]] == [1] * 4 + [2] * 4
    for size in (1, 2):
        for task in ("forward", "train"):
            rows = [r for r in found["timings"] if (r["batch"], r["task"]) == (size, task)]
            assert [row["port"] for row in rows] == ["numpy", "numpy:fast"]
            assert min(row["over_fastest"] for row in rows) == 1
    assert "numpy:fast" in result.stdout
    assert b"microseconds per digit" in (tmp_path / "b.svg").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", plots.FORMATS)
def test_the_plot_is_written_in_every_format(tmp_path, suffix):
    plots.bench(tmp_path / f"b.{suffix}", MADE_UP)
    assert (tmp_path / f"b.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("nope", 2, "unknown port 'nope'"),
        ("numpy --batch 0", 2, "not in the range"),
        ("numpy --rounds 0", 2, "not in the range"),
        ("numpy --threads 0", 2, "not in the range"),
        ("numpy --plot b.txt", 1, "plots are written as png, svg, pdf"),
        ("numpy --plot nowhere/b.png", 1, "cannot be written"),
        ("numpy --json nowhere/b.json", 1, "cannot be written"),
        ("numpy --weights none.safetensors", 1, "no such weights file"),
        ("numpy --weights none.safetensors --json nowhere/b.json", 1, "nowhere/b.json: cannot be written"),
        ("numpy --weights none.safetensors --plot b.txt", 1, "plots are written as png, svg, pdf"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(arguments, code, said, tmp_path):
    result = lenet_bench(tmp_path, *arguments.split())
    assert (result.returncode, result.stdout) == (code, "")
    assert said in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
