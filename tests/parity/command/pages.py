"""Pages of `parity judge --html`: how they are written, and what a test reads in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from click.testing import CliRunner, Result
from onnx import ModelProto, helper

from parity.command.main import cli
from tests.parity.small import Arrays, model, normal, saved

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]
FOCUSED = "document.activeElement.querySelector('.name').title"
SECONDS = 60_000  # milliseconds that a busy machine may take for anything


def parity(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["judge", *map(str, arguments)])


def written(proto: ModelProto, values: Arrays, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The page and the JSON of a verdict."""
    path = saved(proto, folder)
    np.savez(folder / "values.npz", **values)  # type: ignore[arg-type]
    made = [folder / "page.html", folder / "out.json"]
    result = parity(path, "--values", folder / "values.npz", "--html", made[0], "--json", made[1])
    assert result.exit_code in (0, 1), (result.output, result.exception)
    return made[0], json.loads(made[1].read_text(encoding="utf-8"))


def padded(pads: list[int]) -> ModelProto:
    """x → conv → relu → product, of which "relu" is not recorded below."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], "first", pads=pads, strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"], "second"),
        helper.make_node("Conv", ["relu", "v"], ["out"], "third"),
    ]
    weights = {"w": normal(8, 3, 3, 3), "v": normal(4, 8, 1, 1)}
    return model(nodes, {"x": [2, 3, 10, 10]}, ["out"], weights)


def row(page: "Page", name: str) -> Any:
    return page.locator(f'#nodes summary:has(.name[title="{name}"])')


def details(page: "Page", name: str) -> str:
    """The text of a node that is open."""
    found = page.locator(f'#nodes details:has(> summary .name[title="{name}"]) > .more')
    assert found.is_visible()
    return " ".join(found.inner_text().split())
