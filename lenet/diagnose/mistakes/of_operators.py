"""The known mistakes of each layer's operator, from the catalogue of `parity`, as changes to the network.

What is the same function as the right layer, or as a mistake that comes before it, is left out: a kernel with
one input channel has no order of input channels. Both are told by what they make of random numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from lenet.diagnose.mistakes import data
from lenet.diagnose.mistakes.base import Kind, Mistake, of_parity
from lenet.diagnose.mistakes.precision import to_bits
from lenet.diagnose.mistakes.wrong_forward import IMAGE, STAGES, Call, Change, before, call_of, right
from lenet.network.architecture import LENET
from lenet.network.recipe import initial_params
from parity.arithmetic import Array, Bounded
from parity.judging.causes import mistakes
from parity.judging.causes.mistake import Mistake as Known
from parity.judging.causes.mistake import Seen
from parity.judging.causes.written_out.biases import AFTERWARDS

ENDS = {name for name, *_ in AFTERWARDS}  # what follows the last layer; `HANDED_OUT` has what others return
SHUFFLED = "interleaved"  # columns in the order of other maps: `across_layers` says of which
ITEMS = 2  # random images
FAINT = (
    2.0**-24
)  # of values of the second image, and of the first weights: float16 rounds them more than TF32
LARGE = 8.0  # gives values above 6, where ReLU6 cuts off, from the first layer on
SAME = 1e-11  # relative; float64 evaluations of one function differ by less

TIES = 12  # bits of some values: half of those that have no fewer lie between two numbers of TF32

Marks = tuple[tuple[int, ...], Array, Array]

Entry = tuple[Kind, Change, bool]  # with whether it mixes digits


def of_layers(stages: Iterable[str]) -> Iterator[Mistake]:
    """Each mistake in each of these layers alone, in all of one type, and in all where it can be made."""
    made: dict[str, dict[str, Entry]] = {}  # by mistake, then by layer
    for name in stages:
        for entry in of_layer(name):
            made.setdefault(entry[0].name, {})[name] = entry
    return (mistake for layers in made.values() for mistake in _in_layers(layers))


@cache
def of_layer(name: str) -> tuple[Entry, ...]:
    """The known mistakes of one layer; none of the stage before the first."""
    call = _random_calls().get(name)
    return tuple(_entries(call)) if call else ()


def _entries(call: Call) -> Iterator[Entry]:
    for known, mixes in _different(call):
        yield of_parity(known), before(lambda one, wrong=known.operator: one.with_mistake(wrong)), mixes


def _in_layers(layers: dict[str, Entry]) -> Iterator[Mistake]:
    """One mistake in each of these layers, and in several at once."""
    kind, _, mixes = next(iter(layers.values()))
    for name, (own, change, whole) in layers.items():
        yield Mistake(own, {name: change}, whole)
    types = {name: STAGES[name].operator.TYPE for name in layers}
    groups = {tuple(layers), *(tuple(n for n in types if types[n] == one) for one in set(types.values()))}
    for group in sorted(groups, key=len, reverse=True):
        if len(group) > 1:
            changes = {name: layers[name][1] for name in group}
            yield Mistake(kind, changes, mixes, habit=len(group) == len(layers))


@cache
def _random_calls() -> dict[str, Call]:
    """The arguments of each layer of the right network with random weights, for random images."""
    rng = np.random.default_rng(5)
    params: dict[str, Array] = {
        name: to_bits((w if w.any() else rng.standard_normal(w.shape)).astype(np.float64), TIES)
        for name, w in initial_params(5).items()
    }
    for name in params:
        params[name][0] *= FAINT if name.endswith("weight") else 1.0
    x = Bounded(rng.random((ITEMS, *LENET.image_shape)).astype(np.float32).astype(np.float64) * LARGE)
    calls = {}
    for layer in LENET.layers:
        call = call_of(layer.name, x, params, "float64")
        scale = np.array([1.0, FAINT]).reshape(-1, *[1] * (x.ndim - 1))
        calls[layer.name] = replace(call, x=Bounded(to_bits(x.value, TIES) * scale))
        x = Bounded(right(call).value.astype(np.float32).astype(np.float64))
    return calls


def _different(call: Call) -> Iterator[tuple[Known, bool]]:
    """The mistakes that differ from the right layer and from one another, and whether each mixes digits."""
    inputs = [call.x, *([Bounded(call.w), Bounded(call.b)] if call.layer.params else [])]
    seen = [_marks(right(call).value)]
    if call.layer.name == LENET.layers[0].name:  # what is wrong with the image is told of the image
        seen += [_marks(right(replace(call, x=_mistaken(call, one))).value) for one in data.FAMILY.mistakes]
    for known in mistakes(call.layer.operator, Seen(inputs, None)):
        if known.name in ENDS and call.layer.name != LENET.layers[-1].name:
            continue
        if SHUFFLED in known.name:
            continue
        try:
            with np.errstate(all="ignore"):
                value = right(call.with_mistake(known.operator)).value
                alone = right(_first(call).with_mistake(known.operator)).value
        except ValueError:
            continue
        marks = _marks(value)
        if any(_alike(marks, other) for other in seen):
            continue
        seen.append(marks)
        yield known, value.shape[1:] != alone.shape[1:] or not _alike(_marks(value[:1]), _marks(alone))


def _mistaken(call: Call, mistake: Mistake) -> Bounded:
    """The images with a mistake of the data."""
    image = call_of(IMAGE.name, call.x, call.params, call.dtype)
    return Bounded(mistake.changes[IMAGE.name](right)(image).value)


def _first(call: Call) -> Call:
    """The same for the first digit alone."""
    return replace(call, x=Bounded(call.x.value[:1]))


def _marks(value: Array) -> Marks:
    """The shape, and each item's size and random projection."""
    items = value.reshape(len(value), -1)
    directions = np.random.default_rng(1).standard_normal(items.shape[1])
    return value.shape, np.abs(items).sum(axis=1), items @ directions


def _alike(one: Marks, two: Marks) -> bool:
    return one[0] == two[0] and bool((np.abs(one[2] - two[2]) <= SAME * np.maximum(one[1], two[1])).all())
