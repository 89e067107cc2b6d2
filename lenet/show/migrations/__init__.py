"""Measures the differences between ports, and the properties that must not differ.

Layouts are measured by sending numbered arrays through the ports' own `weights.py`, lines are counted in the
sources, outputs are hashed. Facts that cannot be computed, such as history, are in each port's
`about.toml`; tests compare them with the frameworks where possible.
"""

import ast
import importlib
import itertools
import tokenize
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lenet.compare import exact_bits
from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, PARAM_SHAPES
from lenet.network.digits import test_set
from lenet.ports import FRAMEWORKS, Port, installed, open_port
from lenet.reference.exact import EXACT, coarsen

FILES = ("model.py", "weights.py", "train.py", "port.py")
ABOUT = "about.toml"  # beside a port's files
ROOT = Path(__file__).parents[3]
DIGITS = 100  # digits whose logits are hashed


@dataclass(frozen=True)
class History:
    """Facts about a framework, independent of any network: the table `history` of a port's `about.toml`.

    Attributes:
        framework, released, by: its name, the year of its first public release, and its authors.
        stood_for: its main idea, new to those who ported to it.
        padding: the padding argument of a convolution.
        gradients: how gradients are computed.
        graph: when the network exists as a graph.
        parameters: how they are stored and updated.
        momentum: the rule of its own SGD; "none" if it has no optimizer.
        weight_decay: the rule of its own optimizer.
        initialization: the default initialization of a layer.
    """

    framework: str
    released: int
    by: str
    stood_for: str
    padding: str
    gradients: str
    graph: str
    parameters: str
    momentum: str
    weight_decay: str
    initialization: str


@dataclass(frozen=True)
class Layouts:
    """The order of axes inside the framework; the shared order is NCHW, OIHW, (out, in).

    Attributes:
        images: the axes of the input.
        kernels: the axes of a convolution's weights.
        dense: the axes of a dense layer's weights.
        flatten: the axes of pool2 as they are flattened for fc1; the last varies fastest.
    """

    images: str
    kernels: str
    dense: str
    flatten: str


def folders() -> dict[str, str]:
    """{port: folder}, without the exporters, in the order of the frameworks' first release."""
    return {name: _folder(name) for name in history()}


@cache
def history() -> dict[str, History]:
    """{port: facts of its framework}, from each folder's `about.toml`; the oldest first."""
    abouts = {name: ROOT / _folder(name) / ABOUT for name in FRAMEWORKS}
    tables = {
        name: tomllib.loads(path.read_text(encoding="utf-8"))["history"]
        for name, path in abouts.items()
        if path.is_file()
    }
    found = {name: History(**table) for name, table in tables.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].released))


def _folder(name: str) -> str:
    return FRAMEWORKS[name].module.partition(".")[0]


def layouts(name: str) -> Layouts:
    """Measure the layouts of a port: send arrays of distinct numbers through its `weights.py`.

    Raises:
        ValueError: the result is not a permutation of an array.
    """
    module = importlib.import_module(f"{folders()[name]}.weights")
    images, kernel, dense = _numbered(3, *IMAGE_SHAPE), *map(_parameter, ("conv2.weight", "fc2.weight"))
    fc1 = _parameter("fc1.weight")
    moved = _array(module.to_framework("fc1.weight", fc1))
    inputs = moved if moved.shape == fc1.shape else moved.T
    return Layouts(
        images=permutation("NCHW", images, _array(module.images_to_framework(images))),
        kernels=permutation("OIHW", kernel, _array(module.to_framework("conv2.weight", kernel))),
        dense=permutation(("out", "in"), dense, _array(module.to_framework("fc2.weight", dense))),
        flatten=permutation("CHW", fc1[0].reshape(ACTIVATION_SHAPES["pool2"]), inputs[0]),
    )


def permutation(axes: str | tuple[str, ...], shared: np.ndarray, found: np.ndarray) -> str:
    """The order of `axes` in `found`, which holds the numbers of `shared`, perhaps flattened.

    Raises:
        ValueError: no order of the axes gives `found`.
    """
    for order in itertools.permutations(range(shared.ndim)):
        candidate = shared.transpose(order)
        if found.shape not in (candidate.shape, (shared.size,)):
            continue
        if np.array_equal(candidate.reshape(found.shape), found):
            names = [axes[axis] for axis in order]
            return "".join(names) if isinstance(axes, str) else f"({', '.join(names)})"
    raise ValueError(f"{found.shape} is no permutation of {shared.shape}")


def lines(name: str) -> dict[str, int]:
    """{file: lines of code}, for the port's files; "beside" counts all other files of its folder."""
    folder = ROOT / folders()[name]
    beside = [path for path in folder.iterdir() if path.is_file() and path.name not in (*FILES, ABOUT)]
    return {file: code_lines(folder / file) for file in FILES} | {"beside": sum(map(code_lines, beside))}


def code_lines(path: Path) -> int:
    """The number of lines that are not empty, no comments, and in Python no docstrings."""
    if path.suffix != ".py":
        stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        return sum(bool(line) and not line.startswith(("#", "//")) for line in stripped)
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    silent |= {tokenize.ENDMARKER, tokenize.ENCODING}
    with path.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in silent]
    code = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code)


def parameter_count(port: Port) -> int:
    """The number of parameters that the port returns after loading."""
    return sum(array.size for array in port.params().values())


def fingerprint(port: Port) -> str:
    """SHA-256 of the logits of the first test digits with exact weights, the same for every right port."""
    port.load(weights.read(EXACT))
    logits = port.logits(coarsen(test_set()[:DIGITS].images))
    return exact_bits.sha256(logits)


@dataclass(frozen=True)
class Migration:
    """The measured facts of a port. Facts that need its framework are None if it is not installed."""

    name: str
    history: History
    lines: dict[str, int]
    modes: tuple[str, ...]
    layouts: Layouts | None = None
    parameters: int | None = None
    fingerprint: str | None = None


def migrate(name: str) -> Migration:
    """Measure a port; its framework is imported if it is installed."""
    modes = tuple(f"{name}:{mode}" if mode else name for mode in FRAMEWORKS[name].modes)
    known = Migration(name, history()[name], lines(name), modes)
    if not installed(name):
        return known
    port = open_port(name)
    mark = fingerprint(port)
    values = {field.name: getattr(known, field.name) for field in fields(known)}
    found = {"layouts": layouts(name), "parameters": parameter_count(port), "fingerprint": mark}
    return Migration(**values | found)


def _parameter(name: str) -> np.ndarray:
    return _numbered(*PARAM_SHAPES[name])


def _array(value: Any) -> np.ndarray:
    """A framework's array as a NumPy array; Caffe's blobs are messages with a shape and a list."""
    return np.reshape(value.data, value.shape.dim) if hasattr(value, "HasField") else np.asarray(value)


def _numbered(*shape: int) -> np.ndarray:
    """A float32 array of distinct integers, which are exact below 2^24."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
