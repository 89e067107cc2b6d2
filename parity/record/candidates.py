"""Records whatever is to be judged: arrays, a module, a model, a function, or a runtime by its name."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from parity.arithmetic import Array
from parity.errors import UserError
from parity.record.frameworks.arguments import bound
from parity.record.own_names import Names, entries_of, like, own_name, renamed

# The package and the name of the class that a candidate has, so that no framework is imported to ask. A
# Keras model may be a PyTorch module as well.
CLASSES = {"Keras model": ("keras", "Model"), "PyTorch module": ("torch", "Module")}


def kind(candidate: object) -> str:
    """What it is: "arrays", "runtime", "Keras model", "PyTorch module", "JAX function" or "function".

    A function is JAX's if it is jitted, or if its file imports jax.

    Raises:
        UserError: it is nothing of this.
    """
    if isinstance(candidate, Mapping):
        return "arrays"
    if isinstance(candidate, str):
        return "runtime"
    for what, (package, name) in CLASSES.items():
        classes = type(candidate).__mro__
        if any(one.__name__ == name and one.__module__.partition(".")[0] == package for one in classes):
            return what
    if not callable(candidate):
        raise UserError(f"{type(candidate).__name__} can be neither run nor judged")
    return "JAX function" if _is_jax(candidate) else "function"


def _is_jax(function: Callable[..., Any]) -> bool:
    modules = {getattr(type(function), "__module__", ""), getattr(function, "__module__", "") or ""}
    known = getattr(getattr(function, "__wrapped__", function), "__globals__", {}).values()
    modules |= {one.__name__ for one in known if type(one).__name__ == "module"}
    return any(one.partition(".")[0] in ("jax", "jaxlib") for one in modules)


def recorded(
    candidate: Any,
    inputs: Any,
    names: Names | Path | None = None,
    model: ModelProto | Path | None = None,
    outputs: Iterable[str] = (),
) -> Mapping[str, Array]:
    """The tensors of a candidate, under the names of a graph as far as they are known.

    Args:
        candidate: see `kind`.
        inputs: arrays by their names in the graph.
        names: {own name: tensor of the graph}, as the recorder of its kind takes it. Without it, the tensors
            of a PyTorch module are found through the metadata of `model`, and of others what they return.
        model: the graph as a model or a file.
        outputs: the graph's outputs, in the order in which the candidate returns them.

    Raises:
        MissingFramework: its framework is not installed.
        UserError: it cannot be run, or names or inputs do not fit.
    """
    from parity.record import record_jax, record_keras, record_onnx, record_torch

    what = kind(candidate)
    if what == "arrays":
        found = candidate if names is None else renamed(candidate, names, keep=inputs)
        return {**{name: inputs[name] for name in inputs if name not in found}, **found}
    if what == "runtime":
        if model is None:
            raise UserError(f"the runtime {candidate!r} needs a model to run")
        return record_onnx(model, inputs, candidate)
    results = _results(names, tuple(outputs))
    if what == "PyTorch module":
        by_graph = model if isinstance(model, ModelProto) and names is None else None
        return record_torch(
            candidate, inputs, by_graph or (results if names is not None or outputs else None)
        )
    if what == "Keras model":
        return record_keras(candidate, inputs, results if names is not None or outputs else None)
    found = (record_jax if what == "JAX function" else record_function)(candidate, inputs, names)
    return {_place(name, results): array for name, array in found.items()}


def _results(names: Names | Path | None, outputs: tuple[str, ...]) -> dict[str, Any]:
    """The names, and those of what the whole candidate returns, unless `names` has them."""
    entries: dict[str, Any] = dict(entries_of(names or {}))
    named = {name for name, _ in entries.values()}
    for place, name in enumerate(outputs):
        own = own_name("return", 0, place, len(outputs))
        if name not in named and own not in entries:
            entries[own] = (name, "")
    return entries


def _place(name: str, results: Mapping[str, Any]) -> str:
    is_result = name.partition(":")[0] == "return"
    return results[name][0] if is_result and name in results else name


def record_function(
    function: Callable[..., Any], inputs: Any, names: Names | Path | None = None
) -> dict[str, Array]:
    """The inputs of any function, and what it returns: arrays by name, or "return", or "return:0" and so on.

    Args:
        function: takes arrays and returns a dict of arrays, an array, or a tuple of arrays.
        inputs: a mapping from its arguments, or their names in the graph, to arrays; a tuple; or one array.
        names: {own name: tensor of the graph, or (tensor, "NHWC->NCHW")} of arguments and of what it returns.
    """
    wanted = entries_of(names or {})
    given = bound(function, inputs, wanted)
    own = {name: np.asarray(value).copy() for name, value in given.all.items()}
    returned = function(*given.positional.values(), **given.named)
    if not isinstance(returned, Mapping):
        several = returned if isinstance(returned, tuple | list) else (returned,)
        returned = {own_name("return", 0, k, len(several)): one for k, one in enumerate(several)}
    own |= {str(name): np.asarray(one) for name, one in returned.items()}
    for name in wanted:
        if name not in own:
            raise UserError(f"nothing is named {name!r}{like(name, own)}")
    entries = {name: given.entries.get(name, (name, "")) for name in own}
    return dict(renamed(own, {**entries, **wanted}))
