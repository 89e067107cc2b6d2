"""`parity probe`: what it prints, its exit codes, and what it refuses."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import helper
from rich.console import Console

from parity.arithmetic import Array
from parity.arithmetic.floats import BFLOAT16
from parity.command.main import RUNTIMES, cli
from parity.command.probe import digits, explained, rendered
from parity.judging.probes.finding import Finding, ProbeReport
from parity.judging.verdict import Cause, Worst
from tests.parity.small import convolutions, model, saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(convolutions(2), tmp_path)


def probe(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["probe", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def changed(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """A runtime whose results are changed."""
    from parity.record import onnx_runtimes

    right = onnx_runtimes.record

    def record(one: Any, inputs: Mapping[str, Array], runtime: str) -> dict[str, Array]:
        found = right(one, inputs, runtime)
        return {name: change(array) if name.startswith("y") else array for name, array in found.items()}

    monkeypatch.setattr(onnx_runtimes, "record", record)


# OpenVINO by its default may compute in bfloat16.
@pytest.mark.parametrize("runtime", [one for one in RUNTIMES if one != "openvino"])
def test_a_right_runtime_ends_with_0(path: Path, runtime: str) -> None:
    printed = probe(path, "--runtime", runtime).stdout
    assert "Every operator that was probed computes the right function in full precision." in printed
    assert "3 nodes probed, of 3 kinds" in printed
    assert "Probes do not see" in printed
    assert "Not probed" not in printed


def test_a_wrong_operator_ends_with_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, lambda y: y[:, ::-1])
    printed = probe(path, code=1).stdout
    assert "Not the same function." in printed
    assert "first (Conv) computes another function." in printed
    assert "Cause: output channels in reverse order." in printed


def test_a_coarse_operator_ends_with_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, lambda y: BFLOAT16.round(y).astype(np.float32))
    printed = probe(path, code=1).stdout
    assert "The right function in coarser arithmetic." in printed
    assert "first (Conv) is coarse." in printed
    row = next(line for line in printed.splitlines() if line.startswith("first"))
    assert row.split()[:4] == ["first", "Conv", "right", "coarse"]
    assert row.split()[4] in ("8", "9")  # of bfloat16's 8


def test_what_has_no_probe_is_named_and_ends_with_2(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["z"]), helper.make_node("Tanh", ["z"], ["y"])]
    printed = probe(saved(model(nodes, {"x": [2, 5]}, ["y"]), tmp_path), code=2).stdout
    assert "Nothing was probed." in printed
    assert "Not probed: Softmax 1×, Tanh 1×." in printed


def test_the_json(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    probe(path, "--json", file)
    written = json.loads(file.read_text())
    assert written["verdict"] == "right"
    assert json.loads(probe(path, "--json", "-").stdout) == written


def test_many_nodes_are_shown_with_all(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r0"])]
    for k in range(1, 15):  # each of another shape
        nodes.append(helper.make_node("Concat", [f"r{k - 1}", "x"], [f"r{k}"], axis=1))
    path = saved(model(nodes, {"x": [1, 2]}, ["r14"]), tmp_path)
    assert "and 3 more, none of them worse: --all shows them" in probe(path).stdout
    assert "r14" in probe(path, "--all").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--dim batch=N"),
        (["--dim", "rows=2"], "no symbolic dimension 'rows'"),
        (["--runtime", "caffe"], "'caffe' is not one of"),
        (["--json", "model.onnx"], "would overwrite the model"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(convolutions(), tmp_path)
    result = probe("model.onnx", *options, code=2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_file_is_refused() -> None:
    assert probe("nowhere.onnx", code=2).stderr.startswith("error: ")


# --- whole texts -------------------------------------------------------------------------------

FOUND = ProbeReport(
    (
        Finding(
            ("first", "second"), "Conv", (), "right", "coarse", 8.7, Worst((1,), 0.5, 0.25),
            clues=("wrong in the first row",), note="it said so",
        ),
        Finding(
            ("third",), "com.microsoft.FusedMatMulOfALongName", semantics="wrong", worst=Worst((0,), 2, 1),
            causes=(Cause("third", "third", "another axis", "It is common.", "Turn it."),),
        ),
        Finding(("fourth",), "Relu", semantics="right", precision="right", digits=float("inf")),
        Finding(("n1", "n2"), "Softmax", note="no probe"),
        Finding(("n3",), "Foo", note="it needs 5 axes"),
    )
)  # fmt: skip


def printed(report: ProbeReport, width: int, every: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    console.print(rendered(report, "reference", width, every))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]  # rich pads columns


def test_the_whole_output() -> None:
    assert (
        "\n".join(printed(FOUND, 80)[:-3])
        == """\
reference, one node at a time

node      op                  semantics  precision  digits
third     com.mi…OfALongName  wrong      -
first +1  Conv                right      coarse          8
fourth    Relu                right      right

Not the same function.
4 nodes probed, of 3 kinds (operator, attributes, shapes).
third (com.microsoft.FusedMatMulOfALongName) computes another function.
  At [0] it is 2, expected 1.
  Cause: another axis.
    It is common.
    Turn it.
first (Conv) is coarse.
  At [1] it is 0.5, expected 0.25.
  It said so.
  Cause: unknown.
  It is wrong in the first row.
Not probed: Softmax 2×, Foo 1×.
  n3 (Foo): it needs 5 axes"""
    )


def test_names_have_the_room_that_is_left() -> None:
    long = Finding(("a/long/name/of/a/node", "b"), "Conv", semantics="right")
    for width, name in ((80, "a/long/name/of/a/node +1"), (70, "a/lon…of/a/node +1"), (60, "a/…node +1")):
        assert printed(ProbeReport((long,)), width)[3].partition("  ")[0] == name


def test_of_many_wrong_operators_five_are_explained_and_of_many_reasons_three() -> None:
    wrong = [Finding((f"w{k}",), "Conv", semantics="wrong", worst=Worst((0,), 2, 1)) for k in range(7)]
    notes = [Finding((f"n{k}",), "Foo", note=f"reason {k // 2}") for k in range(10)]
    told = list(explained(ProbeReport((*wrong, *notes))))
    assert told[1::3][:5] == [f"w{k} (Conv) computes another function." for k in range(5)]
    assert told[16] == "and 2 more: the JSON has them"
    assert told[17] == "Not probed: Foo 10×."
    assert told[18:21] == [f"  n{2 * k + 1} (Foo): reason {k}" for k in range(3)]
    assert len(told) == 22
    assert "more: the JSON" not in " ".join(explained(ProbeReport(tuple(wrong[:5]))))


@pytest.mark.parametrize(("found", "text"), [(8.7, "8"), (-1.5, "0"), (float("inf"), ""), (float("nan"), "")])
def test_digits_are_whole(found: float, text: str) -> None:
    assert digits(Finding(("n",), "Conv", digits=found)) == text
