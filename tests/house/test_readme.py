"""What the README and docs/parity.md say is so: commands exist, links lead somewhere, code runs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from parity.operators.__main__ import table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str) -> list[str]:
    """Indented blocks of code, without their indentation."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def test_readme_is_short():
    assert len(README.splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.slow
def test_commands_of_the_readme_exist():
    named = set(
        re.findall(
            r"\b(parity|lenet) ([a-z]+)\b(?! and)",
            "\n".join([*re.findall(r"`[^`]*`", README), *blocks(README)]),
        )
    )
    assert {("parity", "judge"), ("lenet", "compare"), ("lenet", "diff")} <= named
    for program in ("parity", "lenet"):
        shown = subprocess.run(
            [sys.executable, "-m", program, "--help"], capture_output=True, text=True, check=True
        )
        known = re.findall(r"^  ([a-z]+) ", shown.stdout, re.MULTILINE)
        assert {word for one, word in named if one == program} <= set(known)


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", shape[:1], shape[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), "model.onnx"
    )
    x = np.array([-1, 0, 2], np.float32)
    np.savez("port.npz", x=x, y=np.maximum(x, 0))
    (code,) = [block for block in blocks(README) if block.startswith("import")]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["report"].verdict == "equal"


def test_the_operators_that_the_guide_lists_are_those_that_there_are():
    assert table() in GUIDE, "python -m parity.operators"
