"""The three stories of docs/rounding-or-bug.md run, and print what the page shows."""

import contextlib
import io
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import unavailable

PAGE = Path(__file__).parents[2] / "docs" / "rounding-or-bug.md"
NEEDS = {
    "A ResNet moved from PyTorch to Keras": ("torch", "onnxscript", "keras"),
    "A runtime that computes in another format": ("torch", "onnxscript", "openvino"),
    "A difference of 2e-3 that is rounding": ("torch", "onnxruntime"),
}
BLOCK = re.compile(r"^```(python|console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What depends on the processor: a number with a point, an exponent or a percent sign.
MEASURED = re.compile(r"-?\d+(\.\d+)?e[-+]?\d+|-?\d+\.\d+|\d+%|∞")

RIGHT_ROW = re.compile(r" (equal|rounding) +# +[#-] +#")  # of the table of `parity judge`


def stories() -> dict[str, str]:
    """The sections of the page by their titles."""
    _, *sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: text for title, _, text in (one.partition("\n") for one in sections)}


def blocks(text: str) -> list[tuple[str, str, str]]:
    """For each block of code or command: its kind, itself, and what the page says that it prints."""
    found: list[tuple[str, str, str]] = []
    for kind, inside in BLOCK.findall(text):
        if kind == "text":
            found[-1] = (*found[-1][:2], inside)
        elif kind == "console":
            command, _, printed = inside.partition("\n")
            found.append((kind, command.removeprefix("$ "), printed))
        else:
            found.append((kind, inside, ""))
    return found


def run(kind: str, code: str, names: dict[str, object]) -> str:
    """What a block prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if kind == "python":
            exec(compile(code, str(PAGE), "exec"), names)
        else:
            from parity.command.main import cli

            program, *arguments = shlex.split(code)
            assert program == "parity"
            with contextlib.suppress(SystemExit):
                cli(arguments, prog_name="parity")
    return printed.getvalue()


def stable(text: str) -> str:
    """The words, without what depends on the processor: numbers, the worst value, rows of right tensors."""
    lines = [re.sub(r"At \[.*?\]", "At #", MEASURED.sub("#", line)) for line in text.splitlines()]
    return " ".join(" ".join(line for line in lines if not RIGHT_ROW.search(line)).split())


def test_every_story_is_run() -> None:
    assert list(stories()) == list(NEEDS)
    assert all(blocks(text) for text in stories().values())


@pytest.mark.parametrize("title", NEEDS)
def test_a_story_prints_what_the_page_shows(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in NEEDS[title]:
        if find_spec(module) is None:
            unavailable(f"the story needs {module}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    names: dict[str, object] = {}
    for kind, code, shown in blocks(stories()[title]):
        printed = run(kind, code, names)
        if "bfloat16" not in shown or computes_in_bfloat16():
            assert stable(printed) == stable(shown), code


def computes_in_bfloat16() -> bool:
    """Whether OpenVINO's default on this processor is bfloat16."""
    import openvino

    return openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string() == "bf16"


def test_a_wrong_output_on_the_page_is_seen() -> None:
    text = "A.\n\n```python\nprint('rounding', 0.25)\n```\n\n```text\ncoarse 0.31\n```\n"
    ((kind, code, shown),) = blocks(text)
    assert stable(run(kind, code, {})) != stable(shown)
    assert stable(run(kind, code, {})) == stable(shown.replace("coarse", "rounding"))
