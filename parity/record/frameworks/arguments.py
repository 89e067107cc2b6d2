"""Which argument of a function takes which input, and the name under which it is recorded."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.errors import UserError
from parity.record.own_names import backward, order

Entry = tuple[str, str]  # the name in the graph, and axes
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Arguments:
    """What a function is called with.

    Attributes:
        positional, named: the arguments; those that a framework does not take as they are must be converted.
        entries: {argument: its name in the graph, and axes}.
    """

    positional: dict[str, Any]
    named: dict[str, Any]
    entries: dict[str, Entry]

    @property
    def all(self) -> dict[str, Any]:
        """Every argument by its name, in the order of the signature."""
        return {**self.positional, **self.named}


def bound(
    function: Callable[..., Any], inputs: Mapping[str, Any] | Sequence[Any] | Any, names: Mapping[str, Entry]
) -> Arguments:
    """Bind inputs to the arguments of a function, and give them the axes that the function expects.

    Args:
        function: what is called.
        inputs: a mapping from arguments, or from names in the graph, to values in the graph's layout; a
            tuple; or one value. A single input goes to a function's only argument whatever its name.
        names: {argument: its name in the graph, and axes}.

    Raises:
        UserError: the function has no such argument, or one of its arguments is not given.
    """
    signature = inspect.signature(function)
    if not isinstance(inputs, Mapping):
        values = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        found = _bind(signature, values, {}).arguments
        several = [name for name in found if signature.parameters[name].kind is _VARIABLE[0]]
        flat = {name: value for name, value in found.items() if name not in several}
        flat |= {f"{name}_{k}": one for name in several for k, one in enumerate(found[name])}
        entries = {name: names.get(name, (name, "")) for name in flat}
        return Arguments({name: _turned(flat[name], *entries[name]) for name in flat}, {}, entries)
    takes = {_argument(signature, name, len(inputs), names): name for name in inputs}
    _bind(signature, (), {argument: inputs[name] for argument, name in takes.items()})
    known = [name for name in signature.parameters if name in takes]
    ordered = [*known, *(name for name in takes if name not in known)]
    entries = {argument: names.get(argument, (takes[argument], "")) for argument in ordered}
    named = {argument: _turned(inputs[takes[argument]], *entries[argument]) for argument in ordered}
    return Arguments({}, named, entries)


def _turned(value: Any, name: str, axes: str) -> Any:
    """A value from the graph's layout in the function's."""
    if not axes:
        return value
    places = order(backward(axes), np.ndim(value), name)
    return value.permute(places) if hasattr(value, "permute") else np.transpose(value, places)


def _argument(signature: inspect.Signature, name: str, count: int, names: Mapping[str, Entry]) -> str:
    """The argument that takes an input."""
    given = {one.name: one for one in signature.parameters.values() if one.kind not in _VARIABLE}
    by_name = [argument for argument in given if names.get(argument, ("", ""))[0] == name]
    if by_name or name in given:
        return by_name[0] if by_name else name
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature.parameters.values()):
        return name
    needed = [one.name for one in given.values() if one.default is inspect.Parameter.empty]
    if count == 1 and len(needed or given) == 1:
        return (needed or list(given))[0]
    listed = ", ".join(given) or "none"
    raise UserError(
        f"there is no argument {name!r} (there are: {listed}): name it, names={{argument: {name!r}}}"
    )


def _bind(
    signature: inspect.Signature, positional: tuple[Any, ...], named: dict[str, Any]
) -> inspect.BoundArguments:
    try:
        return signature.bind(*positional, **named)
    except TypeError as error:
        raise UserError(f"the inputs do not fit the arguments {signature}: {error}") from error
