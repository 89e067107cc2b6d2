"""The base class of operators: a function written once for every arithmetic, and what is known about it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from parity.arithmetic import Array, Bounded, Integers, Looped, Number
from parity.arithmetic.floats import Format
from parity.errors import Unjudged
from parity.operators.element_types import element_type

Points = tuple[Array, ...]  # an index array for each axis of the output, as np.unravel_index returns them
Inputs = Sequence[Number | None]  # None: an optional input that is not given


@dataclass(frozen=True)
class Operator(ABC):
    """One operator. Its fields are its attributes, with the names and defaults of the ONNX standard."""

    TYPE: ClassVar[str]  # "Conv"
    # Attributes that change no value (a hint for training, say): the name, and why it may be ignored.
    IGNORED: ClassVar[Mapping[str, str]] = {}
    OWN: ClassVar[tuple[str, ...]] = ()  # fields that are not attributes in the standard
    TYPES: ClassVar[tuple[str, ...]] = ()  # attributes that are numbers of element types; 0 leaves it open
    # Whether some implementations lose a NaN: in a comparison, or because they skip products with zero.
    LOSES_NAN: ClassVar[bool] = False

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> Self:
        """The operator of an ONNX node.

        Args:
            attributes: those of the node, as Python values: numbers, strings, tuples, arrays.
            opset: version of the standard that the graph uses.

        Raises:
            Unjudged: the operator has no attribute of this name, or there is no element type of this number.
        """
        known = {field.name for field in fields(cls)} - set(cls.OWN)
        given = {name: value for name, value in attributes.items() if name not in cls.IGNORED}
        if unknown := sorted(given.keys() - known):
            raise Unjudged(f"{cls.TYPE} with attribute {unknown[0]}")
        for name in cls.TYPES:
            if given.get(name):
                element_type(given[name])
        return cls(**given)

    def with_outputs(self, count: int) -> "Operator":
        """The operator of a node with this number of outputs.

        Raises:
            Unjudged: the number changes the operator's meaning, and that meaning is not known here.
        """
        return self

    @abstractmethod
    def evaluate(self, *inputs: Any) -> Number | tuple[Number, ...]:
        """The output, or all outputs in order, in the arithmetic of the inputs.

        Raises:
            Unjudged: no bound is known for inputs of this kind.
        """

    def first(self, *inputs: Any) -> Number:
        """The first output."""
        result = self.evaluate(*inputs)
        return result[0] if isinstance(result, tuple) else result

    def sample(self, points: Points, *inputs: Any) -> Number:
        """(M,): the first output at M points; if possible, the cost does not grow with the output's size."""
        return self.first(*inputs).move(lambda a: a[points])

    def terms(self, *inputs: Any) -> int:
        """About how many input values one output value is computed from: the cost of sampling one value."""
        return 1

    def gathered(self, *inputs: Any) -> int:
        """How many input values a sample copies for one value: its terms, unless the points share them."""
        return self.terms(*inputs)

    def few_points(self, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
        """At most `count` random points of an output of this shape, for comparing the errors of a tensor.

        An operator may choose points at which `sample` is cheap because they share rows and columns.
        """
        return random_points(rng, shape, count)

    def offset(self, points: Points, *inputs: Any) -> Number | None:
        """(M,): the part of the first output at M points that does not grow with the weights: a bias."""
        return None

    def shared(self, *inputs: Any) -> int:
        """How many output values share one reduction (a mean, say): their errors are not independent."""
        return 1

    def tells_nan(self, *inputs: Any) -> bool:
        """Whether every implementation returns NaN where the formula does."""
        return not self.LOSES_NAN or finite(*inputs)

    def forms(self) -> tuple["Operator", ...]:
        """All correct ways to evaluate the operator that have different bounds, the tightest bound first.

        An operator that is read from a file has the widest bound, which holds for every form.
        """
        return (self,)

    @property
    def form_name(self) -> str:
        """What distinguishes this form from the others; "" if there is only one."""
        return ""

    def beside(self, recorded: Mapping[int, Array]) -> "Operator":
        """The operator for a candidate that recorded these of its outputs, by position.

        An operator that computes values from its own earlier values takes the earlier ones from the record.
        """
        return self

    def inputs_of(self, output: Array, form: Format) -> tuple[Array, ...] | None:
        """Float64 inputs whose first output is `output`, up to rounding in `form`, if there are any.

        None where every output is that of some inputs, or where nobody has asked.
        """
        return None

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        """The cotangent of input number `which`, computed from the cotangent of the first output.

        Raises:
            Unjudged: no backward pass is known.
        """
        raise Unjudged(f"the backward pass of {self.TYPE}")


Kind = TypeVar("Kind", bound=Operator)
OPERATORS: dict[str, type[Operator]] = {}


def register(cls: type[Kind]) -> type[Kind]:
    """Make an operator known to the readers of graphs, under its TYPE."""
    OPERATORS[cls.TYPE] = cls
    return cls


class Elementwise(Operator):
    """Each output value depends on one value of each input; the inputs are broadcast against one another."""

    def sample(self, points: Points, *inputs: Any) -> Number:
        shape = np.broadcast_shapes(*(x.shape for x in inputs if x is not None))
        return self.first(*(None if x is None else at(x, shape, points) for x in inputs))


def random_points(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
    """`count` points of an array of this shape, drawn independently of each other."""
    return tuple(rng.integers(0, size, count) for size in shape)


def grid_points(rng: np.random.Generator, shape: tuple[int, ...], count: int, axis: int) -> Points:
    """At most `count` points: random places on `axis`, each combined with the same places on the other axes.

    Errors at these points are as independent as at other points: no two values sum the same products.
    """
    others = prod(shape) // max(shape[axis], 1)
    along = min(shape[axis], max(round(count**0.5), count // max(others, 1)))
    across = min(others, count // max(along, 1))
    lines = rng.choice(shape[axis], along, replace=False)
    rest = shape[:axis] + shape[axis + 1 :]
    chosen = rng.choice(others, across, replace=False)
    places = np.unravel_index(chosen, rest) if rest else ()  # a matrix times a vector has one axis
    spread = [np.repeat(place, along) for place in places]
    return (*spread[:axis], np.tile(lines, across), *spread[axis:])


def at(x: Number, shape: Sequence[int], points: Points) -> Number:
    """(M,): x, broadcast to `shape`, at points of that shape."""
    own = points[len(shape) - x.ndim :]
    index = tuple(0 * axis if size == 1 else axis for axis, size in zip(own, x.shape, strict=True))
    return x.move(lambda a: a[index] if index else np.broadcast_to(a, points[0].shape))


def rows(x: Number, axes: Sequence[int], places: Sequence[Array]) -> Number:
    """(M, n): all values along `axes`, in their order, at M places on the other axes of x."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    return x.move(lambda a: a.transpose(*kept, *axes)[tuple(places)].reshape(len(places[0]), -1))


def summed_to(x: Number, shape: tuple[int, ...]) -> Number:
    """x, summed over the axes along which an array of this shape was broadcast to the shape of x."""
    own = (1,) * (x.ndim - len(shape)) + shape
    axes = tuple(axis for axis, size in enumerate(own) if size == 1 and x.shape[axis] != 1)
    return (x.sum(axes) if axes else x).reshape(*shape)


def finite(*inputs: Number | None) -> bool:
    """Whether the inputs hold neither NaN nor infinity."""
    known = (x.comparable for x in inputs if x is not None)
    return all(a.dtype.kind in "biuSUO" or bool(np.isfinite(a).all()) for a in known)


def unsure_of(infinite: Array, y: Number) -> Number:
    """y, but any value is right where the input is `infinite`: some libraries compute ∞ − ∞ or 0 · ∞."""
    return y.either(y.move(lambda a: np.where(infinite, np.nan, a))) if infinite.any() else y


def plain_values(x: Number, what: str) -> Array:
    """The values of an input that states positions (indices, shapes) and so must be known exactly.

    Raises:
        Unjudged: the candidate's own values of this input are not known.
    """
    if isinstance(x, Bounded) and x.error is not None and x.error.any():
        raise Unjudged(f"{what} that was not recorded")
    if isinstance(x, Integers):
        return np.ldexp(x.units.astype(np.float64), x.exponent)
    assert isinstance(x, Bounded | Looped)
    return x.value
