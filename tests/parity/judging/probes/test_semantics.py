"""Mistakes of the catalogue, planted, are found by the integers and named; coarse arithmetic is none."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import parity
from parity.arithmetic import Array, Bounded, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format
from parity.errors import Unjudged
from parity.judging.causes import Mistake, mistakes
from parity.judging.causes.mistake import MISFITS, Seen, pattern
from parity.judging.probes import Finding, integer_data
from parity.judging.probes.examine import examine
from parity.judging.probes.operand import NoProbe, Operand
from parity.operators import Operator
from parity.operators.activation import LeakyRelu
from parity.operators.affine import Conv, Gemm, MatMul
from parity.operators.elementwise import Add, Mul
from parity.operators.normalization import BatchNormalization
from parity.operators.pooling import AveragePool
from tests.parity.judging.causes.naming import is_named
from tests.parity.judging.probes.one_example import examples, operands
from tests.parity.operators.one_node import outputs

KINDS = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "Flatten", "Gemm"),
    *("MatMul", "MaxPool", "Pad", "Relu", "Reshape", "Transpose"),
)


def looped(operator: Operator, inputs: tuple[Array | None, ...]) -> Array | None:
    """What a plain loop computes; None where this does not fit the shapes."""
    try:
        with np.errstate(all="ignore"):
            found = operator.evaluate(*(None if a is None else Looped(a) for a in inputs))
    except (Unjudged, *MISFITS):
        return None
    first = found[0] if isinstance(found, tuple) else found
    assert isinstance(first, Looped)
    return first.value.astype(np.float32)


def planted(
    operator: Operator, given: list[Operand | None], known: set[str]
) -> Iterator[tuple[Mistake, Seen, Finding]]:
    """Each mistake that changes a value of the integers, with what the probes find of it; none that was
    planted in another example (`known`)."""
    inputs = integer_data.probe(operator, given, np.random.default_rng(0)).inputs
    right = outputs(operator, inputs)[0]
    bounded = [None if a is None else Bounded(a) for a in inputs]
    for mistake in mistakes(operator, Seen(bounded, None)):
        if pattern(mistake) in known:
            continue
        wrong = looped(mistake.operator, inputs)
        if wrong is None or wrong.shape != right.shape or np.array_equal(wrong, right.value):
            continue
        if "int8" in mistake.name:
            continue  # small integers survive it, up to the rounding of the scale
        known.add(pattern(mistake))
        seen = Seen(bounded, wrong)
        yield mistake, seen, examine(operator, given, lambda a, m=mistake: [looped(m.operator, a)], "node")  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_planted_mistakes_are_found_and_named(kind: str) -> None:
    named, known = 0, set[str]()
    for example in examples(kind):
        given = operands(example)
        try:
            for mistake, seen, finding in planted(example.operator, given, known):
                assert finding.semantics == "wrong", (str(example), mistake.name)
                assert finding.verdict == "wrong"
                assert finding.worst is not None
                assert is_named(mistake, finding.causes, example.operator, seen), (str(example), mistake.name)
                named += 1
        except NoProbe:
            continue
    assert named


@pytest.mark.parametrize("n", [9, 400, 2304, 28672])
def test_a_missing_bias_is_found_whatever_the_number_of_products(n: int) -> None:
    """Its bound hides it from the plain verdict where n is large; the integers show it."""
    found = parity.probe_operator(Gemm(), [(8, n), (n, 16), (16,)], lambda a, b, c: a @ b)
    assert found.semantics == "wrong"
    assert "bias missing" in [one.name for one in found.causes]


@pytest.mark.parametrize(
    ("n", "form"),
    [(9, TF32), (9, BFLOAT16), (9, FLOAT16), (2304, BFLOAT16), (2304, FLOAT16)],
    ids=lambda one: getattr(one, "name", None),
)
def test_integers_are_blind_to_precision(n: int, form: Format) -> None:
    def short(x: Array) -> Array:
        return form.round(x).astype(np.float32)

    def run(a: Array, b: Array) -> Array:
        total = np.zeros((8, 16), np.float32)
        for k in range(n):  # operands, products and sums in the format
            total = short(total + short(short(a[:, k : k + 1]) * short(b[k : k + 1])))
        return total

    found = parity.probe_operator(MatMul(), [(8, n), (n, 16)], run)
    assert (found.semantics, found.precision) == ("right", "coarse")


@pytest.mark.slow
def test_a_value_that_is_wrong_in_one_place_is_seen() -> None:
    """Not one in 36,000 values: the plain verdict compares the error of the whole tensor."""

    def run(x: Array, w: Array) -> Array:
        y = outputs(Conv(), [x, w])[0].value.astype(np.float32)
        y[1, 2, 3, 4] += 1
        return y

    found = parity.probe_operator(Conv(), [(2, 8, 50, 50), (8, 8, 3, 3)], run)
    assert found.semantics == "wrong"
    assert found.worst is not None
    assert found.worst.index == (1, 2, 3, 4)


def test_another_shape_is_wrong() -> None:
    found = parity.probe_operator(MatMul(), [(4, 5), (5, 6)], lambda a, b: (a @ b)[:3])
    assert found.verdict == "wrong"
    assert found.note == "shape [3, 6], expected [4, 6]"


def test_nan_is_wrong() -> None:
    found = parity.probe_operator(MatMul(), [(4, 5), (5, 6)], lambda a, b: a @ b * np.float32("nan"))
    assert found.verdict == "wrong"


def test_sums_that_are_not_exact_are_coarse_and_not_wrong() -> None:
    """As those of Winograd's F(4,3), whose transforms multiply by thirds."""

    def run(a: Array, b: Array) -> Array:
        third = np.float32(1 / 3)
        return (a * third) @ (b * third) * np.float32(9)

    found = parity.probe_operator(MatMul(), [(4, 25), (25, 6)], run)
    assert (found.semantics, found.precision) == ("right", "coarse")
    assert "Winograd" in found.note


def test_a_slope_that_is_slightly_off_is_no_coarse_arithmetic() -> None:
    """LeakyRelu has no integers: single products tell both apart by the size of the error."""

    def with_slope(slope: float) -> Finding:
        return parity.probe_operator(
            LeakyRelu(alpha=0.01), [(4, 50)], lambda x: np.where(x < 0, x * np.float32(slope), x)
        )

    assert with_slope(0.01).verdict == "right"
    assert with_slope(0.011).semantics == "wrong"
    assert with_slope(float(np.float16(0.01))).verdict == "coarse"


def test_means_are_drawn_several_times_where_no_integers_apply() -> None:
    """A window in the corner sees no value in the first draw of single values."""
    pool = AveragePool(kernel_shape=(3, 3), pads=(1, 1, 1, 1))

    def run(x: Array) -> Array:
        y = outputs(pool, [x])[0].value.astype(np.float32)
        y[..., 0, 0] *= 2
        return y

    assert parity.probe_operator(pool, [(1, 1, 11, 11)], run).verdict == "wrong"


def test_a_value_where_nothing_is_averaged_is_measured_by_the_largest_of_all() -> None:
    """Windows in a corner may see no value; a ninth of a value is the most that any returns."""
    pool = AveragePool(kernel_shape=(3, 3), pads=(1, 1, 1, 1))

    def run(x: Array) -> Array:
        y = outputs(pool, [x])[0].value.astype(np.float32)
        return np.where(y == 0, np.float32(0.003), y)  # below 2^-7, and above 2^-7 times the largest

    assert parity.probe_operator(pool, [(1, 1, 11, 11)], run).semantics == "wrong"


def test_a_factor_that_is_off_by_less_than_the_grid_is_wrong_and_named() -> None:
    """A variance that is divided by n − 1 moves no value by half a unit."""

    def run(x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
        return outputs(norm, [x, scale, bias, mean, variance * np.float32(98 / 97)])[0].value.astype(
            np.float32
        )

    norm = BatchNormalization(epsilon=1e-3)
    found = parity.probe_operator(norm, [(2, 6, 7, 7), *[(6,)] * 4], run)
    assert (found.semantics, found.note) == ("wrong", "")
    assert [one.name for one in found.causes] == ["running variance multiplied by n / (n - 1)"]
    assert found.worst is not None
    assert abs(found.worst.found - found.worst.expected) < 0.5


@pytest.mark.parametrize(
    ("run", "cause"),
    [
        (lambda x, m: x * m[::-1], "x1 in reverse order along axis 0"),  # told of constants alone
        (lambda x, m: x * m + m, "1 + x0 for the factor x0"),  # told of all but constants
    ],
)
def test_the_first_input_is_data_and_the_second_a_weight(run: Callable[..., Array], cause: str) -> None:
    found = parity.probe_operator(Mul(), [(4, 50), (50,)], run)
    assert found.nodes == ("Mul",)
    assert [one.name for one in found.causes] == [cause]


def test_nothing_is_said_of_an_operator_that_ends_with_an_error() -> None:
    """It has computed the first probe, whose sums were not exact."""
    asked: list[Array] = []

    def run(a: Array, b: Array) -> Array:
        asked.append(a)
        if len(asked) > 1:
            raise parity.UserError("not twice")
        return a @ b + np.float32(0.25)

    found = parity.probe_operator(MatMul(), [(4, 25), (25, 6)], run)
    assert len(asked) == 2
    assert (found.verdict, found.note) == ("not probed", "not twice")


def test_nothing_is_probed_where_there_is_nothing() -> None:
    assert parity.probe_operator(Add(), [(0, 3), (0, 3)], lambda a, b: a + b).verdict == "not probed"
