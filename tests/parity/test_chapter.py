"""The three stories of docs/rounding-or-bug.md run, and print what the page shows."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.parity.chapter import WIDTH, blocks, run, stable, stories

NEEDS = {
    "A ResNet moved from PyTorch to Keras": ("torch", "onnxscript", "keras"),
    "A runtime that computes in another format": ("torch", "onnxscript", "openvino"),
    "A difference of 2e-3 that is rounding": ("torch", "onnxruntime"),
}


def test_every_story_is_run() -> None:
    assert list(stories()) == list(NEEDS)
    for text in stories().values():
        assert len(blocks(text)) == text.count("```python") + text.count("```console") > 1
        assert sum(bool(shown) for _, _, shown in blocks(text)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("title", NEEDS)
def test_a_story_prints_what_the_page_shows(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in NEEDS[title]:
        if find_spec(module) is None:
            unavailable(f"the story needs {module}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", WIDTH)
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
