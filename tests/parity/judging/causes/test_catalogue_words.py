"""The words of the catalogue: sentences with names spelled as their owners do, without shouting."""

import re

import pytest

from parity.judging.causes import mistakes
from tests.parity.examples import EXAMPLES
from tests.parity.judging.causes.uses import KINDS, seen
from tests.parity.operators.one_node import drawn

BEGINS = re.compile(r"-?[A-Z0-9`(ε]|(alpha|gamma|h) |log\(1 \+|x·")  # names and formulas stay as they are
CAPITALS = {
    *("NCHW", "NHWC", "OIHW", "HWIO", "OHWI", "HWOI", "IHWO", "IOHW", "ONNX", "MATLAB"),
    *("SAME", "VALID", "GELU", "SELU", "CELU", "LSTM", "VNNI", "VPMADDUBSW"),
}
SPELLED = (
    *("PyTorch", "TensorFlow", "Keras", "NumPy", "ONNX", "JAX", "SciPy", "Theano", "OpenCV", "Caffe"),
    *("MATLAB", "LeNet", "ImageNet"),
)
SPELLING = re.compile("|".join(rf"\b{name}\b" for name in SPELLED), re.IGNORECASE)


def of(kind: str) -> dict[str, tuple[str, str]]:
    """The explanation and the remedy of each mistake in each example of an operator."""
    found = {}
    for example in (one for one in EXAMPLES if kind == one.operator.TYPE):
        arrays = drawn(example, 3)
        for one in mistakes(example.operator, seen(example, arrays)):
            found[one.name] = one.explanation, one.remedy
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_mistake_is_explained_in_sentences(kind: str) -> None:
    for name, texts in of(kind).items():
        for text in texts:
            assert BEGINS.match(text), (name, text)
            assert text.endswith("."), (name, text)
            assert "  " not in text, (name, text)


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_shouted_and_names_are_spelled_right(kind: str) -> None:
    for name, texts in of(kind).items():
        for text in (name, *texts):
            words = set(re.findall(r"\b[A-Z]{4,}\b", text))
            assert words <= CAPITALS, (name, words - CAPITALS)
            assert all(one in SPELLED for one in SPELLING.findall(text)), (name, text)
