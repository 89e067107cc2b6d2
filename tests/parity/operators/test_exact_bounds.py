"""Every operator that rounds: its bound is the one that is stated in rational numbers.

The statements (`tests.parity.statements`) are made from published formulas, apart from the code. Here the
code must have the same bounds, up to the room that it states for computing them; some evaluation must come
near to each; and a bound that is doubled, or lacks a term, must be noticed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.arithmetic import Bounded, Function
from parity.arithmetic import bounded as bounded_module
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format, gamma
from parity.errors import Unjudged
from parity.operators import OPERATORS
from parity.operators.cast import Cast, CastLike
from parity.operators.element_types import NUMBERS
from tests.parity.examples import EXAMPLES, Example
from tests.parity.operators import checks, exact
from tests.parity.statements import SMALL, STATEMENTS, elementwise, gradients

uses = pytest.mark.parametrize("use", SMALL, ids=str)
BY_TYPE: dict[str, list[Example]] = {}
for _one in SMALL:
    BY_TYPE.setdefault(_one.operator.TYPE, []).append(_one)
DATA = [  # what every operator is given, its uses in turn; ("made", FLOAT32) is given to every use
    ("made", FLOAT16),
    ("made", BFLOAT16),
    ("made", FLOAT64),
    ("cancelling", FLOAT32),
    ("zeros", FLOAT16),
    ("tiny", FLOAT32),
    ("tiny", FLOAT16),
    ("tiny", BFLOAT16),
    ("subnormal", FLOAT32),
]
# Operator → a kind of data on which its bound may be another one than stated, and why.
OPEN = {
    "DynamicQuantizeLinear": (
        "cancelling",
        "±1.1 lie half-way between two steps: float64 decides which is it",
    ),
}
NEAR = 0.1  # of the bound of a sum of up to eight terms


def open_to(use: Example, kind: str) -> bool:
    return OPEN.get(use.operator.TYPE, ("",))[0] == kind


def rounds(example: Example) -> bool:
    """Whether some output has a bound for the example's own data, or for small numbers."""
    for kind in ("made", "tiny", "subnormal"):
        try:
            found = exact.computed(example.operator, checks.drawn(example, 1, kind), FLOAT32)
        except Unjudged:
            continue
        if any(one.bound.any() for one in found):
            return True
    return False


@pytest.mark.slow
def test_every_operator_that_rounds_is_stated() -> None:
    """A new operator needs a statement in `tests.parity.statements`."""
    rounding = {example.operator.TYPE for example in (*EXAMPLES, *SMALL) if rounds(example)}
    assert rounding <= set(STATEMENTS) <= set(OPERATORS) | set(gradients.STATEMENTS)
    assert set(STATEMENTS) == set(BY_TYPE)


# --- the bound is the formula ------------------------------------------------------------------


def in_turn(use: Example) -> list[tuple[str, Format]]:
    """The data for this use of its operator: all uses together are given all `DATA`."""
    some = BY_TYPE[use.operator.TYPE]
    return [("made", FLOAT32), *DATA[some.index(use) % len(DATA) :: len(some)]]


def test_every_operator_is_given_all_data() -> None:
    for some in BY_TYPE.values():
        assert {one for use in some for one in in_turn(use)} == {("made", FLOAT32), *DATA}


@uses
def test_bound_is_its_statement(use: Example) -> None:
    for kind, form in in_turn(use):
        if not open_to(use, kind):
            exact.check(use, checks.drawn(use, 3, kind, form=form), form)


@pytest.mark.parametrize("operator", BY_TYPE)
@settings(max_examples=4)
@given(
    at=st.data(),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(("made", "positive", "cancelling", "zeros", "tiny", "integers")),
    form=st.sampled_from([FLOAT32, FLOAT16, BFLOAT16]),
)
def test_bound_is_its_statement_for_any_data(
    operator: str, at: st.DataObject, seed: int, kind: str, form: Format
) -> None:
    use = at.draw(st.sampled_from(BY_TYPE[operator]))
    if not open_to(use, kind):
        try:
            exact.check(use, checks.drawn(use, seed, kind, form=form), form)
        except Unjudged:  # zeros alone
            assert kind in ("zeros", "integers")


# --- some evaluation comes near ----------------------------------------------------------------


@uses
def test_some_evaluation_comes_near(use: Example) -> None:
    """Roundings in the worst directions reach a tenth of every bound, whatever the order."""
    found = checks.Reached()
    for kind in ("made", "positive", "integers"):
        arrays = checks.drawn(use, 3, kind)
        for operator in use.operator.forms():
            for way in checks.Adversary.WAYS:
                found.by(use, operator, arrays, way, FLOAT32)
        if all(part >= NEAR for part in found.parts.values()):
            return
    assert all(part >= NEAR for part in found.parts.values()), found.parts


# --- what is wrong is noticed ------------------------------------------------------------------


class NothingUnderflows(Format):
    @property
    def smallest(self) -> float:
        return 0.0


class NothingIsFlushed(Format):
    @property
    def flush(self) -> float:
        return 0.0


def _made(kind: type[Format], form: Format) -> Format:
    return kind(form.name, form.digits, form.lowest, form.dtype)


@contextmanager
def _patched(name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_module, name, value)
        yield


def _with_functions(change: Callable[[Function], Function]) -> Any:
    """Every function is stated otherwise."""

    @contextmanager
    def changed() -> Iterator[None]:
        apply = Bounded.apply
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Bounded, "apply", lambda self, f, *others: apply(self, change(f), *others))
            yield

    return changed()


def _twice() -> Any:
    @contextmanager
    def changed() -> Iterator[None]:
        right = exact.computed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact, "computed", lambda *given: list(checks.doubled(tuple(right(*given)))))
            yield

    return changed()


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _fewer(k: int, u: float) -> float:
    return gamma(max(k - 1, 0), u)


# What is wrong → how the code is changed, its format, and the data and formats on which it shows.
Change = tuple[Callable[[], Any], type[Format], list[tuple[str, Format]]]
WRONG: dict[str, Change] = {
    "doubled": (_twice, Format, [("made", FLOAT32), ("subnormal", FLOAT32)]),
    "a rounding fewer": (lambda: _patched("gamma", _fewer), Format, [("made", FLOAT32)]),
    "no share of the reference": (lambda: _patched("U64", 0.0), Format, [("made", FLOAT64)]),
    "nothing underflows": (_as_it_is, NothingUnderflows, [("tiny", FLOAT16)]),
    "nothing is flushed": (_as_it_is, NothingIsFlushed, [("tiny", FLOAT32), ("subnormal", FLOAT32)]),
    "accurate functions": (
        lambda: _with_functions(lambda f: replace(f, ulps=0.0)),
        Format,
        [("made", FLOAT32)],
    ),
    "functions without a floor": (
        lambda: _with_functions(lambda f: replace(f, floor=0.0)),
        Format,
        [("made", FLOAT32)],
    ),
}


def noticed(use: Example, wrong: str) -> bool:
    """Whether the check fails where the code is wrong in this way."""
    change, kind, data = WRONG[wrong]
    for name, form in data:
        with change():
            try:
                exact.check(use, checks.drawn(use, 4, name, form=form), form, _made(kind, form))
            except AssertionError:
                return True
    return False


def named(names: str) -> set[str]:
    return set(names.split())


# Operators that select values, of which only the underflow of small ones is open, and operators that return
# whole numbers.
SELECT = named("Ceil Clip Floor GlobalMaxPool Max MaxPool Min Neg ReduceMax ReduceMin Relu Sign Where")
WHOLE = {"QLinearConv", "QLinearMatMul", "QuantizeLinear"}
INTEGERS = {*WHOLE, "DequantizeLinear"}  # inputs that are never small
ONE_FUNCTION = {*elementwise.FUNCTIONS, "Mod", "Sigmoid", "Softplus", "Softsign", "Tanh"}  # and nothing else
# Of numbers as they are
SUMS = named("Add CumSum Range ReduceL1 ReduceSum Shrink Sub Sum") | {
    "gradient of Add",
    "gradient of MaxPool",
}
CHOSEN = {"LeakyRelu", "PRelu", "Shrink"}
# Whose inputs or results here are of the order of 1, beside which 10^-38 is nothing; or which flush nothing.
LARGE = named(
    "Acos Acosh Asin Atanh Cast Cos Exp HardSigmoid Log LogSoftmax Mod Pow Reciprocal "
    "ReduceLogSum ReduceLogSumExp Shrink Sigmoid Softmax Softplus Sqrt Tan"
)
FLOORED = {"gradient of Sigmoid", "Celu", "Elu", "Selu", "GRU", "LSTM", "RNN", "Mish", "Sigmoid", "Softplus"}
GELUS = {
    "Gelu",
    "Swish",
    *(f"com.microsoft.{name}" for name in ("BiasGelu", "FastGelu", "Gelu", "QuickGelu")),
}
NORMS = named("GlobalLpPool LpNormalization LpPool ReduceL2 ReduceLogSum ReduceLogSumExp Softmax LogSoftmax")
NORMALIZING = {kind for kind in STATEMENTS if kind.endswith("Normalization")} | {"LRN"}
OTHERS = {"gradient of Tanh", "Attention", "HardSigmoid", "HardSwish", "Pow", "Reciprocal"}
# What is wrong → operators whose bound has no such term.
LACKING: dict[str, set[str]] = {
    "a rounding fewer": SELECT | WHOLE | ONE_FUNCTION | {"Cast"},
    # The choice between two values takes the ends of an interval outwards: in float64, as much as this share.
    "no share of the reference": SELECT | WHOLE | CHOSEN | {"Cast"},
    "nothing underflows": SELECT | INTEGERS | SUMS | {"Cast"},
    "nothing is flushed": LARGE | INTEGERS,
    "accurate functions": set(BY_TYPE) - ONE_FUNCTION - FLOORED - GELUS - NORMS - NORMALIZING - OTHERS,
    "functions without a floor": set(BY_TYPE) - FLOORED - GELUS,
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", LACKING)
def test_what_is_wrong_is_noticed(wrong: str) -> None:
    """In all operators but those whose bound has no such term."""
    blind = {kind for kind, some in BY_TYPE.items() if not any(noticed(use, wrong) for use in some)}
    assert blind == LACKING[wrong]


# Uses in which nothing rounds.
EXACT = named(
    "Shrink() Mod(fmod=1) Cast(to=1) QuantizeLinear() QuantizeLinear(block_size=2) ScatterElements(axis=1) "
    "ScatterND() Resize(coordinate_transformation_mode=asymmetric,nearest_mode=ceil) "
    "Resize(nearest_mode=round_prefer_ceil)"
)


@pytest.mark.slow
def test_doubled_bound_is_noticed_in_every_use() -> None:
    assert {str(use) for use in SMALL if not noticed(use, "doubled")} == EXACT


def test_cast_like_is_cast() -> None:
    """The tests above give all floats one format, in which it changes nothing."""
    x, like = np.array([1.1, -0.3, 1e-6], np.float32), np.zeros(1, np.float16)
    given = Bounded(x), Bounded(like, None, FLOAT16)
    found = CastLike().evaluate(*given)
    right = Cast(to=NUMBERS[like.dtype]).evaluate(given[0])
    assert isinstance(found, Bounded)
    assert isinstance(right, Bounded)
    assert found.bound.tolist() == right.bound.tolist() != [0, 0, 0]
