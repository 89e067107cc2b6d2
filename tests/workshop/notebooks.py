"""The notebooks, their cells and their solutions."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from workshop import strip

BOOKS = strip.notebooks()


def cells(path: Path, kind: str = "code") -> list[str]:
    """The sources of the cells of a kind."""
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def solution(path: Path) -> Any:
    """The notebook's solution, imported."""
    return importlib.import_module(f"workshop.solutions.{path.stem}")


def calls(source: str, method: str) -> Iterator[ast.Call]:
    """The calls `predict.METHOD(…)` in a cell."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(ast.Attribute(ast.Name("predict"), name)) if name == method:
                yield node
