"""LeNet's layers in plain NumPy, and what a wrong layer shows of itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.second_look import Example, Shown, read_off
from lenet.diagnose.mistakes.wrong_forward import STAGES, walk
from lenet.network.architecture import PARAM_SHAPES
from parity.arithmetic import Bounded
from tests.lenet.diagnose.plain.words import check_kinds
from tests.parity.operators.one_node import check_inside

Array = np.ndarray
Params = dict[str, Array]
Layer = Callable[[Array, Array, Array], Array]  # of its input, its weights and its bias
NONE = np.empty(0)
PADDING = {"conv1": 2, "conv2": 0}
INPUTS = {  # of a layer by itself: small maps with all channels
    "conv1": (1, 8, 8),
    "relu1": (6, 8, 8),
    "pool1": (6, 8, 8),
    "conv2": (6, 14, 14),
    "relu2": (16, 5, 5),
    "fc1": (400,),
    "relu3": (120,),
    "fc2": (120,),
    "relu4": (84,),
    "logits": (84,),
}


def convolved(x: Array, w: Array, b: Array, padding: int) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True) + b[:, None, None]


def pooled(x: Array) -> Array:
    n, c, height, width = x.shape
    return x.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))


def right(name: str, x: Array, w: Array = NONE, b: Array = NONE) -> Array:
    """What a layer should return."""
    if name in PADDING:
        return convolved(x, w, b, PADDING[name])
    if name.startswith("relu"):
        return np.maximum(x, 0)
    if name.startswith("pool"):
        return pooled(x)
    if name == "flatten":
        return x.reshape(len(x), -1)
    return x @ w.T + b if len(w) else x


def own(name: str, params: Mapping[str, Array]) -> tuple[Array, Array]:
    """The weights and the bias of a layer; empty arrays if it has none."""
    return params.get(f"{name}.weight", NONE), params.get(f"{name}.bias", NONE)


def drawn(seed: int, size: float = 1.0) -> Params:
    """Float32 parameters whose biases are not much smaller than what they are added to."""
    rng = np.random.default_rng(seed)
    return {
        name: (size * rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in PARAM_SHAPES.items()
    }


def wide(arrays: Params) -> Params:
    return {name: a.astype(np.float64) for name, a in arrays.items()}


def input_of(name: str, seed: int, digits: int) -> Array:
    rng, shape = np.random.default_rng(seed), (digits, *INPUTS[name])
    values = 5 * rng.integers(0, 52, shape) / 255 if name == "conv1" else rng.standard_normal(shape)
    return stored(values)


def stored(y: Array) -> Array:
    """As a port in float32 returns it."""
    return y.astype(np.float32).astype(np.float64)


class Wrong:
    """A layer that a port computes in this wrong way, on several probes.

    Attributes:
        shown: what is known of the layer.
        again: input, parameters and wrong output of another call.
    """

    def __init__(
        self, name: str, wrong: Layer, digits: int = 3, sizes: Sequence[float] = (1.0, 0.5), add: float = 0.0
    ) -> None:
        self.name, self.wrong = name, wrong
        calls = [(input_of(name, k, digits) + add, wide(drawn(k + 10, size))) for k, size in enumerate(sizes)]
        stages = ("image", "conv1") if name == "conv1" else (name,)
        self.shown = Shown(STAGES[name], stages, tuple(self._examples(calls)), "float32")
        self.again = input_of(name, 7, digits) + add, wide(drawn(17))

    def _examples(self, calls: Iterable[tuple[Array, Params]]) -> Iterator[Example]:
        for x, params in calls:
            w, b = own(self.name, params)
            value = Bounded(right(self.name, x, w, b))
            yield Example(Bounded(x), value, stored(self.wrong(x, w, b)), params)

    @property
    def found(self) -> dict[str, Mistake]:
        """The mistakes that are read off, by their names."""
        return named(read_off(self.shown))

    def is_read_off_as(self, name: str, elsewhere: bool = True) -> None:
        """Fail unless this mistake is read off, and gives what the port returned, `elsewhere` too."""
        found = self.found
        assert name in found, list(found)
        calls: list[tuple[Array, Mapping[str, Array], Array]] = [
            (one.x.value, one.params, one.seen) for one in self.shown.examples
        ]
        if elsewhere:
            other, fresh = self.again
            calls.append((other, fresh, stored(self.wrong(other, *own(self.name, fresh)))))
        for x, params, seen in calls:
            expected = walk(self.shown.stages, Bounded(x), params, "float32", found[name].changes)
            check_inside(expected, seen, name)
            self._carries_errors(found[name], name, x, params)
            # A bound that holds the right values too would prove nothing. Where the port clearly departs from
            # them, they must be clearly outside: the numbers only say "clearly" and "nearly everywhere".
            other = right(self.name, x, *own(self.name, params))
            if other.shape == seen.shape:
                departs = np.abs(other - seen) > 1e-3 * np.abs(seen).max()
                assert (np.abs(other - expected.value) > 64 * expected.bound)[departs].mean() > 0.9, name

    def _carries_errors(self, mistake: Mistake, name: str, x: Array, params: Mapping[str, Array]) -> None:
        """Fail where an input that is moved by its error leads out of the bound."""
        if any(word in name for word in JUMPS):
            return
        error = 1e-3 * np.abs(x).max()
        moved = x + 0.999 * error * np.random.default_rng(5).choice([-1, 1], x.shape)
        unsure = Bounded(x, np.full(x.shape, error))
        expected = walk(self.shown.stages, unsure, params, "float32", mistake.changes)
        check_inside(expected, self.wrong(moved, *own(self.name, params)), f"{name}: errors")


# Functions that jump, where an error may lead to the other side; and functions of the gray levels, told by a
# table: they are for exact images, and their bounds ignore an error.
JUMPS = ("multiples", "threshold", "reduced to", "function of them", "gamma", "cut off to")


def named(mistakes: Iterable[Mistake]) -> dict[str, Mistake]:
    """By their names, of which what they say is checked."""
    found: dict[str, Mistake] = {}
    for one in mistakes:
        check_kinds(one.kind)
        found.setdefault(one.kind.name, one)
    return found
