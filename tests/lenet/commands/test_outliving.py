"""`lenet compare` outlives a framework that ends the process, and a port that raises an error."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import MethodType

import pytest

from lenet.compare import compare, exact_bits
from lenet.network import digits as mnist
from lenet.network import weights
from lenet.reference.exact import EXACT
from lenet_numpy.port import Port as NumpyPort
from parity.command.interrupts import send
from tests.helpers import LENET, as_command, ended, running
from tests.prepared import COMMANDS, prepared
from tests.prepared import LENET as RUN_LENET

WORK = """
ended = go_on_in_a_copy()
print(os.getpid(), flush=True)
for port in ("first", "second", "third"):
    if port not in ended:
        busy(port)
        if port == "second":
            {body}
        busy("")
print(*ended.values())
sys.exit(len(ended))
"""


def started(body: str) -> subprocess.Popen[str]:
    source = as_command(WORK.format(body=body))
    return subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os.abort()", "by signal SIGABRT"),
        ("os.kill(os.getpid(), 9)", "by signal SIGKILL"),
        ("os._exit(0)", "with exit code 0"),  # as C's exit: Python does not learn of it
        ("os._exit(3)", "with exit code 3"),
    ],
)
def test_another_copy_goes_on_without_the_port_that_ended_the_first(body, how):
    output, _ = started(body).communicate(timeout=60)
    first, second, said = output.splitlines()
    assert first != second
    assert said == f"port 'second' ended the process {how}"


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("sys.exit(5)", 5), ("raise ValueError", 1)])
def test_a_process_that_python_ends_is_not_repeated(body, code):
    process = started(body)
    output, _ = process.communicate(timeout=60)
    assert (len(output.split("\n", 1)[0].split()), process.returncode) == (1, code)


def test_the_exit_code_is_that_of_the_last_copy():
    process = started("os.abort()")
    process.communicate(timeout=60)
    assert process.returncode == 1


SWALLOWED = """
            while True:
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    pass"""


HOLDS_PYTHON = "sum(range(10**11))"  # no thread of the copy can run


@pytest.mark.parametrize(
    "body", ["time.sleep(60)", SWALLOWED, HOLDS_PYTHON], ids=["seen", "swallowed", "no thread can run"]
)
@pytest.mark.parametrize("to_both", [False, True], ids=["as kill sends it", "as a terminal sends it"])
def test_an_interrupt_ends_the_copy_and_is_answered_once(body, to_both):
    process = started(body)
    assert process.stdout is not None
    copy = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    if to_both:
        send(copy, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "error: interrupted"
    assert errors.count("error: interrupted") == 1
    assert not running(copy)


CLEANED = """
            try:
                print("at work", flush=True)
                time.sleep(60)
            finally:
                print("cleaning", flush=True)
                time.sleep(0.05)
                print("cleaned", flush=True)"""


def test_a_second_signal_does_not_disturb_the_cleaning():
    process = started(CLEANED)
    assert process.stdout is not None
    copy = int(process.stdout.readline())
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    send(copy, signal.SIGINT)
    assert process.stdout.read() == "cleaned\n"  # the rest: communicate() would miss what is buffered
    process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_copy_ends_with_the_process_that_waits(number):
    process = started("time.sleep(60)")
    assert process.stdout is not None
    copy = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=60)
    assert ended(copy)


@pytest.mark.slow
def test_a_framework_that_ends_the_process_is_reported_and_the_others_are_compared(lenet):
    result = lenet("compare", "numpy", "jax", "--digits", 10, XLA_FLAGS="--nonsense")
    assert result.returncode == 1
    assert re.search(r"^numpy .* rounding$", result.stdout, re.MULTILINE)
    assert "not run  port 'jax' ended the process with exit code 1" in result.stdout
    assert "--nonsense" in result.stderr  # what the library said


@pytest.mark.slow
def test_a_framework_without_its_device_is_reported_and_the_others_are_compared(lenet):
    result = lenet("compare", "jax", "numpy", "--digits", 10, JAX_PLATFORMS="nonsense")
    assert result.returncode == 1
    assert re.search(r"^numpy .* rounding$", result.stdout, re.MULTILINE)
    assert "JAX_PLATFORMS='nonsense'" in " ".join(result.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "--digit", "3", "--port", "numpy", "--port", "jax"],
        ["exact", "numpy", "jax", "--digits", "2"],
        ["train", "numpy", "jax", "--compare", "2"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_that_asks_several_ports_goes_on_without_one(arguments, lenet):
    result = lenet(*arguments, XLA_FLAGS="--nonsense")
    assert result.returncode == 1
    assert "numpy" in result.stdout
    assert result.stderr.splitlines()[-1] == "left out: jax: port 'jax' ended the process with exit code 1"


@pytest.mark.slow
def test_a_framework_that_calls_exit_at_its_import_is_reported(tmp_path):
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "jax.py").write_text("raise SystemExit(0)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "stand_in")}
    command = [LENET, "compare", "numpy", "jax", "--digits", "2"]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.search(r"^numpy .* rounding$", result.stdout, re.MULTILINE)
    assert "SystemExit: 0" in result.stdout


FAILS = "numpy:fast"  # the port in which a failure is planted: nothing is imported for it but for `numpy`


def with_a_port_that(
    method: str, raised: str, folder: Path, arguments: str
) -> subprocess.CompletedProcess[str]:
    """`lenet ARGUMENTS` with a port, FAILS, whose method does what `raised` says."""
    code = f"""
import os
from lenet_numpy.port import Port
right = Port.{method}
class Odd(BaseException): pass
def fails(self, *arguments):
    if self.name != "{FAILS}":
        return right(self, *arguments)
    {raised}
Port.{method} = fails
from lenet.network import digits
digits.training_set = lambda folder: digits.test_set()
from museum import recorded
recorded.names = list  # of the report: no port has a part in them
{RUN_LENET}
"""
    return prepared(*COMMANDS).run(code, *arguments.split(), folder=folder)


ASKED = {
    "compare numpy numpy:fast --digits 10": "_forward",
    "exact numpy numpy:fast --digits 2": "_outputs",
    "train numpy numpy:fast --compare 2": "_step",
    "report numpy numpy:fast --digits 4 --strip 1 --steps 2": "_step",
}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ASKED)
def test_every_command_goes_on_without_a_port_that_ends_the_process_at_work(arguments, tmp_path):
    result = with_a_port_that(ASKED[arguments], "os._exit(0)", tmp_path, arguments)
    assert result.returncode == 1
    said = " ".join((result.stdout + result.stderr).split())
    assert f"port '{FAILS}' ended the process with exit code 0" in said
    assert re.search(r"\bnumpy\b(?!:)", result.stdout) or (tmp_path / "report.html").exists()


ALONE = {
    "exact numpy numpy:fast --digits 2": "_outputs",
    "train numpy numpy:fast --compare 2": "_step",
    "train numpy:fast --digits 64 --epochs 1": "_step",
    "train numpy:fast --epochs 1 --digits 64": "_velocity",
    "report numpy numpy:fast --digits 4 --strip 1 --steps 2": "_step",
}


@pytest.mark.slow
def test_a_port_that_ends_its_own_training_is_named_in_one_line(tmp_path):
    result = with_a_port_that("_step", "os._exit(0)", tmp_path, "train numpy:fast --digits 64 --epochs 1")
    said = "error: port 'numpy:fast' ended the process with exit code 0; nothing was kept\n"
    assert (result.returncode, result.stderr) == (1, said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "arguments", "said"),
    [
        ("_outputs", "exact numpy numpy:fast --digits 2", "raises KeyError: 'logits'"),
        ("_params", "train numpy numpy:fast --compare 2", "returns parameters of shapes {}"),
        (
            "_forward",
            "predict --digit 3 --port numpy:fast",
            "object has no attribute 'shape'",
        ),
    ],
)
def test_a_port_that_returns_something_else_is_named_in_one_line(method, arguments, said, tmp_path):
    result = with_a_port_that(method, "return {}", tmp_path, arguments)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith(said)


@pytest.mark.slow
def test_what_a_port_raises_is_shown_escaped(tmp_path):
    result = with_a_port_that(
        "_outputs", r"raise ValueError('\x1b[2J')", tmp_path, "compare numpy:fast --digits 2"
    )
    assert "\x1b" not in result.stdout
    assert r"raises ValueError: \x1b[2J" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ALONE)
@pytest.mark.parametrize("kind", ["ValueError", "Odd"])
def test_a_port_that_raises_is_named_in_one_line(arguments, kind, tmp_path):
    raised = f"raise {kind}('no such\\nkernel')"
    result = with_a_port_that(ALONE[arguments], raised, tmp_path, arguments)
    assert result.returncode == 1
    assert result.stderr == f"error: port '{FAILS}' raises {kind}: no such kernel\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("os._exit(0)", "port 'numpy:fast' ended the process with exit code 0"),
        ("os.abort()", "port 'numpy:fast' ended the process by signal SIGABRT"),
        ("raise SystemExit(0)", "raises SystemExit: 0"),
        ("raise ValueError('no such kernel')", "raises ValueError: no such kernel"),
    ],
)
def test_predict_answers_without_a_port_that_fails_while_it_computes(raised, said, tmp_path):
    result = with_a_port_that(
        "_forward", raised, tmp_path, "predict --digit 3 --port numpy --port numpy:fast"
    )
    assert result.returncode == 1
    assert re.search(r"by numpy(?!:)", result.stdout)
    assert result.stderr.splitlines()[-1] == f"left out: numpy:fast: {said}"


def test_a_death_that_no_port_is_noted_for_is_no_success():
    result = subprocess.run(
        [sys.executable, "-c", as_command("go_on_in_a_copy()\nos._exit(0)")], capture_output=True, text=True
    )
    said = "error: a library ended the process with exit code 0"
    assert (result.returncode, result.stderr.splitlines()[-1]) == (2, said)


@pytest.mark.slow
def test_where_no_port_remains_the_error_says_why(lenet):
    result = lenet("compare", "jax", "--digits", 2, XLA_FLAGS="--nonsense")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "error: port 'jax' ended the process with exit code 1"


@pytest.mark.parametrize("method", ["_activations", "_logits"])
def test_a_port_that_raises_is_reported_and_the_others_are_judged(method, monkeypatch):
    def raised(self, images):
        raise ValueError("no such\nkernel")

    broken = NumpyPort("numpy")
    monkeypatch.setattr(broken, method, MethodType(raised, broken))
    digits, exact = mnist.test_set()[:20], weights.read(EXACT)
    right = exact_bits.right(exact, digits.images, "float32")
    found = compare([broken, NumpyPort("numpy")], weights.read(), digits, right=right)
    problem, verdicts = found.ports[0].problem, [one.verdict for one in found.ports]
    assert problem == "raises ValueError: no such kernel"
    assert verdicts == ["different", "rounding"]
    assert [one.bits_equal for one in found.ports] == [0 if method == "_logits" else 200, 200]
