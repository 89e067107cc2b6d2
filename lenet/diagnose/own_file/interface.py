"""The interface of a user's own port: plain functions that know nothing of this project.

They receive copies of NumPy arrays in the dtype that they claim, and may return anything that NumPy can
read: tensors of any framework, nested lists, numbers. A wrong shape or dtype is kept, because it is
evidence. A value that NumPy cannot read is refused in one line.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import prod
from typing import Any

import numpy as np

from lenet.diagnose.probe_inputs import Observed, Probes, observe
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Arrays
from parity.errors import UserError

FUNCTIONS = {
    "activations": "activations(params, images)",
    "gradients": "gradients(params, images, labels)",
    "train": "train(params, batches, recipe)",
}
DTYPES = ("float32", "float64")
LARGEST = 2**24  # values of an array that is looked at; right ones have less than a million


class Misused(UserError):
    """The functions do not follow the interface, so nothing can be judged."""


class OwnPort:
    """Wraps a user's functions for `lenet.diagnose.probe_inputs.observe`.

    Args:
        activations: takes (params, images), returns {layer: array} or the logits as an array.
        gradients: takes (params, images, labels), returns (loss, {parameter: array}); None if there is none.
        train: takes (params, batches, recipe), returns the parameters after a step for each batch; None if
            there is none.
        dtype: the type that they claim to compute in.
        layers: {their name of a layer or parameter: ours}; None leaves it out.
        tell: called with phase=NAME before each call of a function, and with note=TEXT.

    Attributes:
        notes: side effects of the functions that they should not have.

    Raises:
        Misused: an argument is no function, or a name in `layers` is unknown.
    """

    def __init__(
        self,
        activations: Callable[..., Any] | None,
        gradients: Callable[..., Any] | None = None,
        train: Callable[..., Any] | None = None,
        dtype: str = "float32",
        layers: Mapping[str, str | None] | None = None,
        tell: Callable[..., None] = lambda **event: None,
    ) -> None:
        given = {"activations": activations, "gradients": gradients, "train": train}
        self.functions = {name: function for name, function in given.items() if function is not None}
        if activations is None:
            raise Misused(f"there is no function {FUNCTIONS['activations']}")
        for name, function in self.functions.items():
            if not callable(function):
                raise Misused(f"{name} is {describe(function)}, expected a function {FUNCTIONS[name]}")
        if dtype not in DTYPES:
            raise Misused(f"DTYPE is {dtype!r}, expected {' or '.join(map(repr, DTYPES))}")
        if not isinstance(layers, Mapping | None):
            raise Misused(f"LAYERS is {describe(layers)}, expected a dict {{your name: ours}}")
        self.dtype, self.layers = dtype, dict(layers or {})
        for name, ours in self.layers.items():
            if ours is not None and ours not in {*ACTIVATION_SHAPES, *PARAM_SHAPES}:
                known = [*ACTIVATION_SHAPES, *PARAM_SHAPES]
                raise Misused(f"LAYERS maps {name!r} to {ours!r}, expected one of {', '.join(known)}")
        self.notes: list[str] = []
        self._tell = tell

    def observe(self, probes: Probes, follow: Callable[[str, Arrays], None] | None = None) -> Observed:
        """Run the functions on every probe; `follow` is called with a function's name and its answer."""

        def followed(name: str) -> Callable[..., Any] | None:
            def call(*arguments: Any) -> Any:
                answer = getattr(self, name)(*arguments)
                if follow is not None:
                    follow(name, _flat(answer))
                return answer

            return call if name in self.functions else None

        first = followed("activations")
        assert first is not None  # the constructor has checked it
        return observe(probes, first, followed("gradients"), followed("train"), self.dtype)

    def activations(self, params: Arrays, images: np.ndarray) -> Arrays:
        """{layer: array} with our names. A wrong shape is evidence: it is kept."""
        return self._layers(self._call("activations", params, images))

    def gradients(
        self, params: Arrays, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float | None, Arrays]:
        """The loss (None if it was not returned) and {parameter: gradient} with our names."""
        returned = self._call("gradients", params, images, labels)
        if isinstance(returned, Mapping):
            returned = None, returned
        if not (
            isinstance(returned, tuple | list) and len(returned) == 2 and isinstance(returned[1], Mapping)
        ):
            raise Misused(f"gradients returned {describe(returned)}, expected (loss, {{parameter: array}})")
        loss, grads = returned
        if loss is None and not grads:
            raise Misused("gradients returned neither a loss nor any gradient")
        if loss is not None:
            loss = to_numpy(loss, "the loss of gradients")
            if loss.size != 1:
                raise Misused(f"the loss of gradients has shape {loss.shape}, expected one number: the mean")
            loss = float(loss.reshape(()))
        without = [str(name) for name, grad in grads.items() if grad is None]
        if without:  # frameworks return None for a parameter on which the loss does not depend
            self._note(f"gradients returned None for {', '.join(without)}: treated as zeros")
        filled = {name: self._zeros(name) if grad is None else grad for name, grad in grads.items()}
        return loss, self._named("gradients", filled, list(PARAM_SHAPES))

    def train(self, params: Arrays, batches: list[Batch], recipe: Recipe) -> Arrays:
        """The parameters after the steps, with our names."""
        returned = self._call("train", params, batches, recipe)
        if not isinstance(returned, Mapping):
            raise Misused(f"train returned {describe(returned)}, expected {{parameter: array}}")
        found = self._named("train", returned, list(PARAM_SHAPES))
        if missing := PARAM_SHAPES.keys() - found.keys():
            raise Misused(f"train returned no {min(missing)!r}, expected every parameter after the steps")
        return found

    def _call(self, name: str, *arguments: Any) -> Any:
        """The function's answer for copies of the arguments. Adds a note if it writes into them."""
        given, kept = ([self._own(argument) for argument in arguments] for _ in "12")
        before, after = _arrays(kept), _arrays(given)  # before the call, because it may change the dict
        self._tell(phase=name)
        returned = self.functions[name](*given)
        for (word, ours), (_, theirs) in zip(before, after, strict=True):
            if not np.array_equal(ours, theirs):
                self._note(f"{name} writes into its {word}; here each call has a copy, elsewhere it may not")
        return returned

    def _own(self, argument: Any) -> Any:
        """A copy in the claimed dtype; labels keep their dtype, and the recipe is passed on."""
        if isinstance(argument, Mapping):
            return {name: array.astype(self.dtype) for name, array in argument.items()}
        if isinstance(argument, list):
            return [Batch(self._own(b.images), b.labels.copy(), b.rate) for b in argument]
        if isinstance(argument, np.ndarray):
            return argument.astype(self.dtype if argument.dtype.kind == "f" else argument.dtype)
        return argument

    def _layers(self, returned: Any) -> Arrays:
        if isinstance(returned, Mapping):
            found = self._named("activations", returned, list(ACTIVATION_SHAPES))
            if not found:
                raise Misused("activations returned no layer, expected at least 'logits'")
            return found
        expected = "a dict {layer: array}, or the logits as one array"
        return {"logits": to_numpy(returned, "what activations returned", expected)}

    def _named(self, what: str, returned: Mapping[Any, Any], known: list[str]) -> Arrays:
        found: Arrays = {}
        for name, value in returned.items():
            ours = self._ours(name)
            if ours is None:
                continue
            if ours not in known:
                raise Misused(f"{what} returned {_unknown(ours, known)}")
            if ours in found:
                raise Misused(f"{what} returned {ours!r} twice: LAYERS gives two arrays the same name")
            found[ours] = to_numpy(value, f"{what}()[{name!r}]")
        return found

    def _ours(self, name: Any) -> Any:
        """Our name for "my conv", or for "my conv.weight" by the layer before the dot."""
        head, dot, tail = str(name).rpartition(".")
        if name not in self.layers and dot and head in self.layers:
            layer = self.layers[head]
            return None if layer is None else f"{layer}.{tail}"
        return self.layers.get(name, name)

    def _zeros(self, name: Any) -> np.ndarray:
        return np.zeros(PARAM_SHAPES.get(self._ours(name), ()), self.dtype)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            self._tell(note=text)


def to_numpy(value: Any, what: str, expected: str = "an array of numbers") -> np.ndarray:
    """A tensor of any framework, a list or a number as a NumPy array of floats, integers or booleans.

    Raises:
        Misused: the value cannot be read as such an array.
    """
    try:
        _refuse_large(getattr(value, "shape", ()), what, expected)  # before it is copied
        if hasattr(value, "detach"):  # PyTorch: without gradient, on the CPU
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # float32 holds each value of it
                value = value.float()
        array = np.asarray(value)
        if array.dtype.kind == "V" or array.dtype == np.longdouble:  # types of ml_dtypes, such as bfloat16
            array = array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
    except Misused:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0][:200]
        raise Misused(f"{what} is {describe(value)}, expected {expected} ({reason})") from error
    _refuse_large(array.shape, what, expected)
    if array.dtype.kind not in "fiub":
        raise Misused(f"{what} is {describe(value)}, expected {expected}")
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _refuse_large(shape: Any, what: str, expected: str) -> None:
    if prod(map(int, shape)) > LARGEST:
        raise Misused(f"{what} has shape {tuple(map(int, shape))}, which is too large; expected {expected}")


def describe(value: Any) -> str:
    """A returned value in a few words: "None", "a tuple of 3"."""
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {kind} of {len(value)}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _unknown(name: Any, known: list[str]) -> str:
    close = get_close_matches(str(name), known, 1)
    if close:
        mapping = f"LAYERS = {{{name!r}: {close[0]!r}}}"
        return f"{name!r}, which is unknown; did you mean {close[0]!r}? If so, add {mapping}"
    return (
        f"{name!r}, which is unknown; known are {', '.join(known)}; LAYERS = {{{name!r}: …}} maps it to a "
        "known name, or to None to leave it out"
    )


def _arrays(arguments: list[Any]) -> list[tuple[str, np.ndarray]]:
    """All arrays among the arguments, each with the word for it in a note."""
    params, data, *labels = arguments
    images = [batch.images for batch in data] if isinstance(data, list) else [data]
    found = [("params", array) for array in params.values()] + [("images", array) for array in images]
    return found + [("labels", array) for array in labels if isinstance(array, np.ndarray)]


def _flat(answer: Any) -> Arrays:
    """An answer as a dict of arrays; the loss is added to the gradients as "loss"."""
    if isinstance(answer, tuple):
        loss, grads = answer
        return grads if loss is None else {**grads, "loss": np.array(loss)}
    return answer
