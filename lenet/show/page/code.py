"""Finds the lines of the ports that belong to a layer, by the names that all ports share."""

import re
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

from lenet.network.architecture import LAYERS
from lenet.show import side_by_side
from lenet.show.migrations import ROOT, folders
from lenet.show.side_by_side import FilePair, Line

FILES = ("model.py", "deploy.prototxt", "layers.py", "weights.py")  # with layers; the rest trains
NAMES = [layer.name for layer in LAYERS]
WORD = re.compile(rf"\b({'|'.join(NAMES)})\b")
CALL = re.compile(r"\b([a-z]\w*)\(")


@dataclass(frozen=True)
class Pair:
    """The files with layers of two ports, side by side."""

    a: str
    b: str
    files: list[FilePair]

    def layers_of(self, file: FilePair, definition: str, line: Line) -> str:
        """The names of the layers of a line: those named in it, or those that call the function around it."""
        if file.name.endswith(".prototxt"):
            return _blocks(ROOT / (file.left or file.right or ""))[line.number][1]
        function = definition.partition("_backward")[0].partition("_parameter_gradients")[0]
        named = set(WORD.findall(line.text))
        named |= {name for port in (self.a, self.b) for name in NAMES if function in _calls(port)[name]}
        return " ".join(name for name in NAMES if name in named)


def pairs(names: list[str]) -> list[Pair]:
    """All pairs of these ports, in their order; modes share the source of their port."""
    known = [name for name in names if name in folders()]
    return [Pair(a, b, side_by_side.compare_folders(a, b, FILES)) for a, b in combinations(known, 2)]


@cache
def called(name: str) -> dict[str, str]:
    """{layer: source lines}: the lines of the port's network whose first layer is this layer."""
    path = network(name)
    lines = path.read_text(encoding="utf-8").splitlines()
    found: dict[str, list[str]] = {layer: [] for layer in NAMES}
    if path.suffix == ".prototxt":
        for line, layer in _blocks(path).values():
            if layer:
                found[layer].append(line)
    else:
        for line in lines:
            word = WORD.search(line)
            if word and "(" in line and not line.lstrip().startswith("return"):
                found[word[0]].append(line.strip())
    return {layer: "\n".join(some) for layer, some in found.items()}


@cache
def _calls(name: str) -> dict[str, set[str]]:
    """{layer: functions of the port that the layer's lines call}."""
    own = set(side_by_side.sections((ROOT / folders()[name] / "model.py").read_text(encoding="utf-8")))
    layers = ROOT / folders()[name] / "layers.py"
    if layers.is_file():
        own |= set(side_by_side.sections(layers.read_text(encoding="utf-8")))
    return {layer: own & set(CALL.findall(text)) for layer, text in called(name).items()}


def network(name: str) -> Path:
    """The path of the file with the port's layers."""
    text = ROOT / folders()[name] / "deploy.prototxt"
    return text if text.is_file() else text.with_name("model.py")


@cache
def _blocks(path: Path) -> dict[int, tuple[str, str]]:
    """{line number of a prototxt: (text, layer of its block or "")}."""
    found: dict[int, tuple[str, str]] = {}
    block: list[tuple[int, str]] = []
    layer = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("layer {"):
            block, layer = [], ""
        block.append((number, line))
        if word := re.match(r'  name: "(\w+)"', line):
            layer = word[1] if word[1] in NAMES else ""
        if line == "}" or not line or line.startswith("#"):
            found |= {n: (text, layer) for n, text in block}
            block, layer = [], ""
    return found
