"""Keras models: what every layer returns, in the graph's order of axes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.arithmetic import Array
from parity.errors import UserError, importing
from parity.graph import fits_shape
from parity.record.frameworks.keras_axes import Layouts, functional
from parity.record.own_names import Names, backward, entries_of, like, own_name, renamed, split, turned

if TYPE_CHECKING:
    import keras

Entries = Mapping[str, tuple[str, str]]


def record_keras(model: "keras.Model", inputs: Any, names: Names | Path | None = None) -> dict[str, Array]:
    """The inputs, and what layers return, under the names of tensors in the graph and in its order of axes.

    The model is called once, eagerly, in inference mode. Layers of nested models are named "inner/conv"; the
    second call of a shared layer is "relu@1", the first of several tensors "lstm:0".

    A tensor whose channels come last by its layer's data_format is transposed. Layers that keep the axes in
    their order hand the data_format on to layers without one. It is never concluded from a shape: where
    nothing declares the axes, behind Permute for example, `names` has to.

    Args:
        model: a functional or a sequential model.
        inputs: a mapping from names in the graph to arrays in the graph's layout; a tuple; or one array.
        names: {layer: tensor of the graph}, or {layer: (tensor, "NHWC->NCHW")}; of inputs too, by the names
            of the model's input layers. Without it every layer is recorded under its own name, and as it is.

    Raises:
        MissingFramework: Keras is not installed.
        UserError: the model is not made of layers, it has no such layer, or nothing declares its axes.
    """
    with importing("Keras", "keras"):
        import keras
    whole = functional(model)
    if whole is None:
        kind = (
            "is not built yet: call it once"
            if isinstance(model, keras.Sequential)
            else "has no graph of layers"
        )
        raise UserError(
            f"the Keras model {getattr(model, 'name', model)!r} {kind}; a functional model has one"
        )
    layers = dict(_layers(whole))
    wanted = None if names is None else entries_of(names)
    _check_known(wanted or {}, layers)
    layouts = Layouts(whole)
    feeds = _feeds(whole, inputs, wanted or {}, layouts)
    given = [turned(array, backward(axes), name) for name, axes, array in feeds]
    watched = set(layers) if wanted is None else {split(own)[0] for own in wanted}
    with _watching({path: layers[path] for path in watched if path in layers}) as seen:
        returned = model(keras.tree.pack_sequence_as(whole.input, given))
    if "return" not in layers:
        seen["return"] = [_as_array(one) for one in keras.tree.flatten(returned)]
    own = {
        own_name(*split(call), k, len(several)): one
        for call, several in seen.items()
        for k, one in enumerate(several)
    }
    entered = {name: array for name, _, array in feeds}
    if wanted is None:
        return {**entered, **own}
    entries = {
        one: (name, axes or _declared(_made(whole, layers, one, layouts), one, layouts))
        for one, (name, axes) in wanted.items()
        if one not in {tensor.name for tensor in whole.inputs}
    }
    return {**entered, **renamed(own, entries)}


def _layers(model: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer and operation by its path, those of nested models too."""
    for one in model.operations:
        yield within + one.name, one
        inner = functional(one)
        if inner is not None:
            yield from _layers(inner, f"{within}{one.name}/")


def _check_known(wanted: Entries, layers: Mapping[str, Any]) -> None:
    for own in wanted:
        if split(own)[0] not in {*layers, "return"}:
            raise UserError(f"the model has no layer {own!r}{like(own, layers)}")


def _feeds(model: Any, inputs: Any, wanted: Entries, layouts: Layouts) -> list[tuple[str, str, Array]]:
    """Each input's name in the graph, how the model's axes become the graph's, and the array."""
    own = [one.name for one in model.inputs]
    if not isinstance(inputs, Mapping):
        values = inputs if isinstance(inputs, tuple | list) else (inputs,)
        if len(values) != len(own):
            raise UserError(f"the model has the inputs {', '.join(own)}, but {len(values)} were given")
        inputs = {wanted.get(name, (name, ""))[0]: value for name, value in zip(own, values, strict=True)}
    found = []
    for tensor in model.inputs:
        name, axes = wanted.get(tensor.name, (tensor.name, ""))
        if name not in inputs and tensor.name not in wanted and len(own) == len(inputs) == 1:
            (name,) = inputs
        if name not in inputs:
            listed = ", ".join(inputs) or "none"
            raise UserError(
                f"the model needs the input {tensor.name!r}, but given are: {listed}; "
                f"say which it is, names={{{tensor.name!r}: name in the graph}}"
            )
        array, axes = np.asarray(inputs[name]), axes or layouts.axes(tensor) or ""
        shape = turned(array, backward(axes), name).shape
        if not fits_shape(shape, tuple(tensor.shape)):
            raise UserError(
                f"{name} has shape {list(array.shape)}, but the input {tensor.name!r} of the model is "
                f"{list(tensor.shape)}, which the layers declare as {axes or 'the same axes'}"
            )
        found.append((name, axes, array))
    if extra := sorted({*inputs} - {name for name, _, _ in found}):
        raise UserError(f"the model has no input {extra[0]!r}; its inputs: {', '.join(own)}")
    return found


def _made(model: Any, layers: Mapping[str, Any], own: str, layouts: Layouts) -> list[tuple[Any, Any]]:
    """The tensors with an own name in all calls of a layer, each with the node that makes it."""
    path, place = split(own)[0], int(own.rpartition(":")[2]) if ":" in own else 0
    if path in layers:
        nodes = layouts.calls.get(id(layers[path]), [])
        return [(node, node.output_tensors[place]) for node in nodes if place < len(node.output_tensors)]
    result = model.outputs[place] if place < len(model.outputs) else None
    nodes = [node for several in layouts.calls.values() for node in several]
    return [(node, result) for node in nodes if any(one is result for one in node.output_tensors)]


def _declared(made: list[tuple[Any, Any]], own: str, layouts: Layouts) -> str:
    """How a tensor becomes the graph's, as the layers of the model declare it.

    Raises:
        UserError: it is made of a tensor with declared axes, but nothing tells what became of them.
    """
    found = set()
    for node, tensor in made:
        axes, shape = layouts.axes(tensor), list(tensor.shape)
        before = [layouts.axes(one) for one in node.input_tensors]
        if axes is None and len(shape) > 2 and any(one is not None for one in before):
            what = f"{own!r} ({type(node.operation).__name__}, shape {shape})"
            named = f'names={{{own!r}: (tensor, "NHWC->NCHW")}}'
            raise UserError(f"nothing declares the axes of {what}: name them, {named}")
        found.add(axes or "")
    if len(found) > 1:
        raise UserError(
            f"{own!r} has its channels first in one call and last in another: name the axes of each"
        )
    return found.pop() if found else ""


@contextmanager
def _watching(layers: Mapping[str, Any]) -> Iterator[dict[str, list[Array]]]:
    """Keep what these layers return, while the context lasts."""
    import keras

    seen: dict[str, list[Array]] = {}
    calls: dict[str, int] = {}

    def keeping(path: str, call: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            returned = call(*arguments, **options)
            name = own_name(path, calls.get(path, 0))
            calls[path] = calls.get(path, 0) + 1
            seen[name] = [_as_array(one) for one in keras.tree.flatten(returned) if one is not None]
            return returned

        return called

    for path, layer in layers.items():
        object.__setattr__(
            layer, "call", keeping(path, layer.call)
        )  # Keras follows what is set in the usual way
    try:
        yield seen
    finally:
        for layer in layers.values():
            object.__delattr__(layer, "call")


def _as_array(tensor: Any) -> Array:
    import keras

    if type(tensor).__module__.startswith("torch"):
        from parity.record.frameworks.torch_hooks import as_array

        return as_array(tensor).copy()
    return np.array(keras.ops.convert_to_numpy(tensor))
