"""How the catalogue speaks: in sentences, with names spelled as their owners do, and without shouting."""

import re
from typing import Any

BEGINS = re.compile(r"-?[A-Z0-9`(ε]|(alpha|gamma|h) |log\(1 \+|x·")  # names and formulas stay as they are
CAPITALS = {
    *("NCHW", "NHWC", "OIHW", "HWIO", "OHWI", "HWOI", "IHWO", "IOHW", "ONNX", "MATLAB"),
    *("MNIST", "CIFAR"),
    *("SAME", "VALID", "GELU", "SELU", "CELU", "LSTM", "VNNI", "VPMADDUBSW"),
}
SPELLED = (
    *("PyTorch", "TensorFlow", "Keras", "NumPy", "ONNX", "JAX", "SciPy", "Theano", "OpenCV", "Caffe"),
    *("MATLAB", "LeNet", "ImageNet"),
)
ALWAYS = CAPITALS - {"SAME", "VALID"}  # which are words as well
CASE = re.compile(r"[\w.-]+/[\w.-]+#\d+")
SPELLING = re.compile("|".join(rf"\b{name}\b" for name in SPELLED), re.IGNORECASE)


def check_sentences(name: str, *texts: str) -> None:
    """Each text begins like a sentence and ends like one."""
    for text in texts:
        assert BEGINS.match(text), (name, text)
        assert text.endswith("."), (name, text)
        assert "  " not in text, (name, text)
        assert not re.search(r"\. [a-z]", text), (name, text)


def check_words(name: str, *texts: str) -> None:
    """No word is shouted, and names are spelled right."""
    for text in (name, *texts):
        words = set(re.findall(r"\b[A-Z]{4,}\b", text))
        assert words <= CAPITALS, (name, words - CAPITALS)
        small = {word.upper() for word in re.findall(r"\b[a-z]{4,}\b", text)} & ALWAYS
        assert not small, (name, small)
        assert all(one in SPELLED for one in SPELLING.findall(text)), (name, text)


def check_said(*mistakes: Any) -> None:
    """What some mistakes, or causes, say."""
    for one in mistakes:
        check_sentences(one.name, one.explanation, one.remedy)
        check_words(one.name, one.explanation, one.remedy)
        assert isinstance(one.case, str), one.name
        assert not one.case or (CASE.fullmatch(one.case) and not one.case.isupper()), (one.name, one.case)
