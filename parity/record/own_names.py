"""Names that a framework gives to tensors, and how they become the names of a graph.

A tensor that a module or a layer returns has an **own name**: the path of the module, `layer1.0.conv`. From
its second call on the number of the call follows: `layer1.0.relu@1`. If it returns several tensors, the place
follows: `lstm:0`, `lstm@1:2`. What the whole module or function returns is `return`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.errors import UserError
from parity.files import check_readable

# {own name: name in the graph, or (name in the graph, axes)}; axes are written "NHWC->NCHW".
Names = Mapping[str, str | Sequence[str]]


def own_name(path: str, call: int = 0, place: int = 0, places: int = 1) -> str:
    """The own name of a tensor: a module's path, the number of its call, and the place in what it returns."""
    return path + (f"@{call}" if call else "") + (f":{place}" if places > 1 else "")


def split(own: str) -> tuple[str, int]:
    """The path of the module and the number of the call, of an own name.

    >>> split("lstm@1:2")
    ('lstm', 1)
    """
    call, colon, place = own.rpartition(":")
    call = call if colon and place.isdigit() else own
    path, at, number = call.rpartition("@")
    return (path, int(number)) if at and number.isdigit() else (call, 0)


class Renamed(Mapping[str, Array]):
    """Recorded arrays under the names of a graph; each is read when it is asked for."""

    def __init__(self, values: Mapping[str, Array], entries: Mapping[str, tuple[str, str]]) -> None:
        self._values, self._entries = values, dict(entries)  # {name in the graph: (own name, axes)}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes that are known without reading the arrays."""
        known: Mapping[str, tuple[int, ...]] = getattr(self._values, "shapes", {})
        return {
            name: tuple(known[own][axis] for axis in order(axes, len(known[own]), own))
            for name, (own, axes) in self._entries.items()
            if own in known
        }

    def __getitem__(self, name: str) -> Array:
        own, axes = self._entries[name]
        return turned(np.asarray(self._values[own]), axes, own)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def renamed(values: Mapping[str, Array], names: Names | Path | str, keep: Iterable[str] = ()) -> Renamed:
    """Arrays under the names of a graph; what `names` does not name is left out.

    Args:
        values: {own name: array}; read one at a time, when the result is asked for them.
        names: {own name: name in the graph}, or a JSON file with such an object. With the axes,
            {own name: (name in the graph, "NHWC->NCHW")}, the array is transposed.
        keep: names that stay as they are if `names` does not name them: those of inputs.

    Raises:
        UserError: a name was not recorded, two tensors would get one name, or axes do not fit.
    """
    entries: dict[str, tuple[str, str]] = {}
    wanted = entries_of(names)
    taken = {*wanted, *(name for name, _ in wanted.values())}
    kept = {name: (name, "") for name in keep if name in values and name not in taken}
    for own, (name, axes) in {**kept, **wanted}.items():
        if own not in values:
            raise UserError(f"{own!r} is to be {name}, but was not recorded{like(own, values)}")
        if name in entries:
            raise UserError(f"both {entries[name][0]!r} and {own!r} are to be {name}")
        entries[name] = own, axes
    return Renamed(values, entries)


def entries_of(names: Names | Path | str) -> dict[str, tuple[str, str]]:
    """{own name: (name in the graph, axes)}; the axes are "" if none are given.

    Raises:
        UserError: the file cannot be read, or it is not such a mapping.
    """
    where, given = ("names", names) if isinstance(names, Mapping) else (str(names), _read(Path(names)))
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: an object {{own name: name in the graph}} is needed")
    found = {}
    for own, entry in given.items():
        pair = (entry, "") if isinstance(entry, str) else entry
        fits = isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(one, str) for one in pair)
        if not (isinstance(own, str) and fits):
            raise UserError(f"{where}: {own!r} needs a name in the graph, or [name, axes]")
        if pair[1]:
            _sides(pair[1], own)
        found[own] = (pair[0], pair[1])
    return found


def _read(path: Path) -> Any:
    check_readable(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no JSON of names: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def turned(array: Array, axes: str, name: str) -> Array:
    """The array with its axes in the graph's order: "NHWC->NCHW". Without axes it stays as it is.

    Raises:
        UserError: the axes do not fit the array.
    """
    return array.transpose(order(axes, array.ndim, name))


def order(axes: str, rank: int, name: str) -> tuple[int, ...]:
    """For each axis in the graph's order, its place in the recorded array.

    >>> order("NHWC->NCHW", 4, "conv1")
    (0, 3, 1, 2)
    """
    if not axes:
        return tuple(range(rank))
    have, want = _sides(axes, name)
    if len(have) != rank:
        raise UserError(f"{name!r} has {rank} axes, but {axes!r} tells of {len(have)}")
    return tuple(have.index(letter) for letter in want)


def backward(axes: str) -> str:
    """From the graph's order to the framework's: "NCHW->NHWC" for "NHWC->NCHW", and "" for ""."""
    return "->".join(reversed(axes.split("->")))


def _sides(axes: str, name: str) -> tuple[str, str]:
    have, arrow, want = (part.strip() for part in axes.partition("->"))
    if not (arrow and len(set(have)) == len(have) and sorted(have) == sorted(want)):
        raise UserError(f"the axes {axes!r} of {name!r} are not written like NHWC->NCHW")
    return have, want


def like(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known names like it."""
    from parity.judging.walk import nearest

    return nearest(name, known)
