"""What must hold for every operator, each as one function that fails with an AssertionError.

They are apart from the tests that call them so that other tests can break a bound and see them fail.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import FLOAT32, FLOAT64, FORMATS, Format
from parity.arithmetic.plain_loop import ORDERS
from parity.errors import Unjudged
from parity.judging.question import sampled
from parity.operators import Operator
from parity.operators.interpolation import Places
from tests.parity.arithmetic.adversary import Adversary
from tests.parity.arithmetic.any_order import AnyOrder, Plan
from tests.parity.arithmetic.wrapped import Wrapped, moved
from tests.parity.examples import Example
from tests.parity.operators import one_node
from tests.parity.operators.one_node import ratios

Arrays = Sequence[Array | None]
KINDS = ("made", "positive", "scaled", "zeros", "cancelling", "integers", "tiny", "subnormal")
COVER = 1e-9  # relative: far above `cover`, the room for evaluating a bound, far below any term of it
# Uses for which onnxruntime has no CPU kernel, by a part of their name: what it says.
NO_KERNEL = {"layout=1": "Batchwise recurrent operations"}


def data_inputs(example: Example, arrays: Arrays) -> list[int]:
    """Positions of the inputs that may hold any float values."""
    floats = [k for k, array in enumerate(arrays) if array is not None and array.dtype.name in FORMATS]
    return floats if example.data is None else [k for k in floats if k in example.data]


def drawn(
    example: Example, seed: int, kind: str = "made", exponent: float = 0.0, form: Format = FLOAT32
) -> Arrays:
    """Inputs for an example in a format: as it makes them, or changed in one of the ways of `KINDS`.

    Args:
        exponent: -1 to 1, how far "scaled" goes: from about the third root of the smallest number to that of
            the largest, so that a product of two still has its place.
    """
    rng = np.random.default_rng(seed)
    made = example.make(rng)
    chosen = data_inputs(example, made)
    return [
        array
        if array is None or array.dtype.name not in FORMATS
        else form.round(_changed(array, kind, exponent, form, rng) if k in chosen else array)
        for k, array in enumerate(made)
    ]


def _changed(x: Array, kind: str, exponent: float, form: Format, rng: np.random.Generator) -> Array:
    x = x.astype(np.float64)
    if kind == "positive":
        return np.abs(x)
    if kind == "scaled":
        return np.ldexp(x, round(-form.lowest / 3 * exponent))
    if kind == "zeros":
        return x * (rng.random(x.shape) < 0.6)
    if kind == "cancelling":
        return 1.1 * rng.choice([-1.0, 1.0], x.shape)
    if kind == "integers":
        return rng.integers(-3, 4, x.shape).astype(np.float64)
    if kind == "tiny":  # so that products of two fall among the subnormal numbers
        return np.ldexp(x, form.lowest // 2 - form.digits // 4)
    if kind == "subnormal":
        return np.ldexp(x, form.lowest - form.digits // 2)
    return x


def bounded(arrays: Arrays, form: Format = FLOAT32, errors: Arrays | None = None) -> list[Bounded | None]:
    """Inputs with the errors that the candidate's own may have."""
    errors = errors or [None] * len(arrays)
    return [None if a is None else Bounded(a, e, form) for a, e in zip(arrays, errors, strict=True)]


def outputs(result: Any) -> tuple[Number, ...]:
    """What `evaluate` returns, as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def check_any_order(example: Example, arrays: Arrays, form: Format, seed: int) -> bool:
    """No right implementation leaves the bound; False if it left the format, so that nothing was checked."""
    for operator in example.operator.forms():
        expected = outputs(operator.evaluate(*bounded(arrays, form)))
        plan = Plan(np.random.default_rng(seed))
        inputs = [None if a is None else AnyOrder(a, form, plan=plan) for a in arrays]
        try:
            with uncertain_places():
                found = outputs(operator.evaluate(*inputs))
        except Unjudged:  # nothing but zeros is left where subnormal numbers are taken for zero
            assert plan.flushes
            return False
        assert len(found) == len(expected)
        if plan.overflowed:
            return False
        for one, right in zip(found, expected, strict=True):
            assert isinstance(one, Looped)
            assert isinstance(right, Bounded)
            assert one.shape == right.shape == right.bound.shape
            worst = ratios(one.value, right).max(initial=0)
            assert worst <= 1, f"{example}: {worst:.3g} times its bound in {form.name}"
            whole = right.value.dtype.kind != "f" or (right.value == np.rint(right.value)).all()
            if (
                whole
                and not plan.rounded
                and np.abs(right.value.astype(np.float64)).max(initial=0) < form.u**-0.5
            ):
                small = all(a is None or np.array_equal(a, np.rint(a)) for a in arrays if _numeric(a))
                assert not small or np.array_equal(one.value.astype(right.value.dtype), right.value)
    return True


def check_plain_loop(example: Example, arrays: Arrays) -> None:
    """What a plain loop computes, in any order, is as right as any other implementation."""
    for operator in example.operator.forms():
        expected = outputs(operator.evaluate(*bounded(arrays)))
        for order in ORDERS:
            inputs = [None if a is None else Looped(a, FLOAT32, order) for a in arrays]
            for one, right in zip(outputs(operator.evaluate(*inputs)), expected, strict=True):
                assert isinstance(one, Looped)
                assert isinstance(right, Bounded)
                assert one.shape == right.shape
                whole = right.value.dtype.kind in "biu"
                assert not whole or one.value.dtype == right.value.dtype
                worst = ratios(one.value, right).max(initial=0)
                assert worst <= 1, f"{example}: a plain loop is off by {worst:.3g} times the bound"


def _numeric(array: Array | None) -> bool:
    return array is None or array.dtype.kind in "biuf" or array.dtype.name in FORMATS


@contextmanager
def uncertain_places() -> Iterator[None]:
    """Lets the arithmetics of the tests interpolate at any place where an implementation may.

    Otherwise they do so at the places that a plain loop computes.
    """
    of = Places.of

    def chosen(places: Places, x: Number) -> Array:
        return x.place(places.value, places.error) if isinstance(x, Wrapped) else of(places, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Places, "of", chosen)
        yield


@dataclass
class Reached:
    """How far the worst roundings come: the largest part of its bound that each output of each form reaches.

    Attributes:
        parts: by the output and the form, for those that may round.
    """

    parts: dict[str, float] = field(default_factory=dict)

    def by(self, example: Example, operator: Operator, arrays: Arrays, way: str, form: Format) -> None:
        """Let one adversary compute; fail if it leaves a bound."""
        expected = outputs(operator.evaluate(*bounded(arrays, form)))
        inputs = [None if a is None else Adversary(a, form, way=way) for a in arrays]
        with uncertain_places():
            found = outputs(operator.evaluate(*inputs))
        for k, (one, right) in enumerate(zip(found, expected, strict=True)):
            assert isinstance(one, Looped)
            assert isinstance(right, Bounded)
            part = ratios(one.value, right).max(initial=0)
            assert part <= 1, f"{example}: {part:.3g} times its bound, rounding {way}"
            if right.bound.any():
                name = _name(k, operator)
                self.parts[name] = max(self.parts.get(name, 0.0), float(part))


def _name(output: int, operator: Operator) -> str:
    return f"output {output} {operator.form_name}".strip()


def bounds(example: Example) -> list[str]:
    """Names of all outputs in all forms, as `Reached` has them."""
    count = len(outputs(example.operator.evaluate(*bounded(drawn(example, 0)))))
    return [_name(k, operator) for operator in example.operator.forms() for k in range(count)]


def reached(example: Example, arrays: Arrays, form: Format = FLOAT32) -> Reached:
    """What all adversaries reach on this data."""
    all_ways = Reached()
    for operator in example.operator.forms():
        for way in Adversary.WAYS:
            all_ways.by(example, operator, arrays, way, form)
    return all_ways


def check_reaches(example: Example, stated: Callable[[str], float], seed: int = 0) -> None:
    """The worst roundings reach more than the stated share of every bound, with some of the data.

    And no more than twice as much, so that this fails where the bound is doubled. (It does so by itself where
    half of the bound is asked, since nothing reaches more than all of it: the search then ends early.)

    Args:
        example: one use of an operator.
        stated: the share that is asked, by "OPERATOR(attributes) output K FORM".
        seed: of the data.
    """
    for operator in example.operator.forms():
        found = Reached()
        for kind, way in product(("made", "positive", "integers"), Adversary.WAYS):
            found.by(example, operator, drawn(example, seed, kind), way, FLOAT32)
            if kind == "made" and not found.parts:
                break  # nothing rounds
            if all(part > stated(f"{example} {name}") >= 0.5 for name, part in found.parts.items()):
                break
        for name, part in found.parts.items():
            asked = stated(f"{example} {name}")
            assert part > asked, f"{example} reaches {part:.3f} of its bound ({name}), {asked} is asked"
            assert part <= 2 * asked, f"{example} reaches {part:.3f} of its bound ({name}): state more"


def check_carried(example: Example, seed: int, relative: float = 2.0**-10) -> bool:
    """Inputs that move inside their intervals move the outputs by no more than the bound.

    False if the operator refuses inputs that are not known exactly, so that nothing was checked.
    """
    arrays = drawn(example, seed)
    rng = np.random.default_rng(seed)
    chosen = data_inputs(example, arrays)
    groups = [chosen, *([k] for k in chosen)] if len(chosen) > 1 else [chosen]
    answers = [_check_carried(example, arrays, group, rng, relative) for group in groups if group]
    return any(answers)


def _check_carried(
    example: Example, arrays: Arrays, chosen: list[int], rng: np.random.Generator, relative: float
) -> bool:
    errors = [
        _error(a, relative, rng) if a is not None and k in chosen else None for k, a in enumerate(arrays)
    ]
    for operator in example.operator.forms():
        try:
            expected = outputs(operator.evaluate(*bounded(arrays, FLOAT32, errors)))
        except Unjudged:
            return False
        for corner in (True, False):
            at = [_moved(a, e, corner, rng) for a, e in zip(arrays, errors, strict=True)]
            near = [_inside(m, a, e) for m, a, e in zip(at, arrays, errors, strict=True)]
            plan = Plan(rng)
            exact = operator.evaluate(*bounded(at, FLOAT64))
            computed = operator.evaluate(
                *(None if a is None else AnyOrder(a, FLOAT32, plan=plan) for a in near)
            )
            for found in (exact, computed):
                for one, right in zip(outputs(found), expected, strict=True):
                    assert isinstance(one, Bounded | Looped)
                    assert isinstance(right, Bounded)
                    worst = ratios(one.value, right).max(initial=0)
                    assert worst <= 1, (
                        f"{example}: an error of inputs {chosen} grows to {worst:.3g} of its bound"
                    )
    return True


def _error(x: Array, relative: float, rng: np.random.Generator) -> Array:
    """Some values are known exactly, others are not."""
    return relative * np.abs(x.astype(np.float64)) * rng.random(x.shape) * (rng.random(x.shape) < 0.9)


def _moved(x: Array | None, error: Array | None, corner: bool, rng: np.random.Generator) -> Array | None:
    if x is None or error is None:
        return x
    by = rng.choice([-1.0, 1.0], x.shape) if corner else rng.uniform(-1, 1, x.shape)
    return moved(x.astype(np.float64), by * error, error)


def _inside(at: Array | None, x: Array | None, error: Array | None) -> Array | None:
    """The moved values in the format of x, where that stays inside the interval."""
    if at is None or x is None or error is None:
        return x
    rounded = at.astype(x.dtype)
    return np.where(np.abs(rounded.astype(np.float64) - x) <= error, rounded, x)


def check_sampled(example: Example, arrays: Arrays, seed: int, errors: Arrays | None = None) -> None:
    """A sample equals the whole at its points, in value and bound, as two float64 evaluations do."""
    rng = np.random.default_rng(seed)
    for operator in example.operator.forms():
        inputs = bounded(arrays, FLOAT32, errors)
        whole = outputs(operator.evaluate(*inputs))[0]
        exact = outputs(operator.evaluate(*bounded(arrays, FLOAT64)))[0]
        assert isinstance(whole, Bounded)
        assert isinstance(exact, Bounded)
        if not whole.size:
            return
        points = tuple(rng.integers(0, size, 40) for size in whole.shape)
        part = sampled(operator, points, inputs)
        assert isinstance(part, Bounded)
        index = points or ()
        assert part.shape == (len(points[0]) if points else 1,)
        assert part.value.dtype.kind == whole.value.dtype.kind
        right = Bounded(whole.value[index], exact.bound[index], FLOAT64)
        assert ratios(part.value, right).max(initial=0) <= 1, f"{example}: a sample has other values"
        a, b = part.bound, whole.bound[index]
        with np.errstate(invalid="ignore"):
            close = (a == b) | (np.abs(a - b) <= COVER * np.maximum(a, b))
        assert close.all(), f"{example}: a sample has other bounds"
        loop = sampled(operator, points, [None if a is None else Looped(a) for a in arrays])
        assert isinstance(loop, Looped)
        if errors is None:
            off = ratios(loop.value, Bounded(whole.value[index], whole.bound[index]))
            if loop.value.dtype.kind == "f":
                off = off[np.isfinite(loop.value)]  # what overflows on the way says nothing of sampling
            assert off.max(initial=0) <= 1, f"{example}: a sampled loop has other values"


def no_kernel(example: Example) -> str:
    """What onnxruntime says where it has no kernel for this use; "" where it has one."""
    return next((text for part, text in NO_KERNEL.items() if part in str(example)), "")


def check_onnxruntime(example: Example, arrays: Arrays) -> None:
    """onnxruntime's outputs of this one node are judged to be right, all of them."""
    found = one_node.in_onnxruntime(example, arrays)
    report = one_node.report(example, arrays, found)
    assert not report.unjudged, f"{example}: {report.unjudged}"
    for tensor in report.tensors:
        assert tensor.verdict in ("equal", "rounding"), f"{example}: onnxruntime's {tensor}"
        assert tensor.ratio <= 1, f"{example}: onnxruntime's {tensor}"
    expected = outputs(example.operator.evaluate(*bounded(arrays)))
    assert [array.shape for array in found] == [one.shape for one in expected]


def doubled(result: Any) -> Any:
    """Outputs whose bounds are twice as wide, for tests that must then fail."""
    wide = tuple(
        replace(one, error=None if one.error is None else 2 * one.error) if isinstance(one, Bounded) else one
        for one in outputs(result)
    )
    return wide if isinstance(result, tuple) else wide[0]
