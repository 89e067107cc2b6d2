"""Every mistake of the catalogue is planted in every use of its operator, and found and named."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from parity.arithmetic import Array, Bounded, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format
from parity.errors import Unjudged
from parity.judging.causes import Mistake, judge, mistakes
from parity.judging.causes.mistake import MISFITS, pattern
from parity.judging.verdict import TensorReport
from parity.onnx import read_onnx
from tests.parity.examples import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.judging.causes.naming import evaluated, is_named
from tests.parity.judging.causes.uses import KINDS, seen
from tests.parity.operators.one_node import drawn, fed, model, outputs

SMALL = "weights of 7 bits, whose sums do not saturate: test_saturation.py has larger ones"
NOTHING = {
    **dict.fromkeys(("MatMulInteger", "QLinearConv", "QLinearMatMul"), SMALL),
    "ConvInteger": "both in uint8",
    "SpaceToDepth": "one channel, which has no order",
}
MANY = 10  # of more examples of one operator, each mistake is planted in one alone


def planted(
    some: Sequence[Mistake], example: Example, arrays: list[Array | None]
) -> Iterator[tuple[Mistake, Array]]:
    """Each of these mistakes with what a plain loop computes that makes it, where this fits the shapes."""
    bounded = [None if a is None else Bounded(a) for a in arrays]
    looped = [None if a is None else Looped(a) for a in arrays]
    right = outputs(example.operator, arrays)[0]
    for mistake in some:
        try:
            with np.errstate(all="ignore"):
                result = mistake.operator.evaluate(*looped)
            evaluated(mistake, bounded)
        except (Unjudged, *MISFITS):
            continue
        first = result[0] if isinstance(result, tuple) else result
        assert isinstance(first, Looped)
        if right.value.dtype.kind not in "fiu" or first.value.dtype.kind not in "fiu":
            continue
        value = first.value.astype(np.float32 if right.value.dtype.kind == "f" else right.value.dtype)
        if value.size > 1 and np.isfinite(value).all() and tells(mistake, bounded, right, value):
            yield mistake, value


def tells(mistake: Mistake, inputs: Sequence[Bounded | None], right: Bounded, found: Array) -> bool:
    """Whether these values show the mistake: another shape, or an error larger than rounding, either way."""
    first = evaluated(mistake, inputs)
    if found.shape != right.shape:
        return bool((np.abs(first.value) > 2 * first.bound).all() and np.ptp(found) > 0)
    with np.errstate(all="ignore"):
        error = np.abs(found.astype(np.float64) - right.value.astype(np.float64))
        return bool((error > np.maximum(first.bound, right.bound)).any())


def judged(example: Example, arrays: list[Array | None], found: Array) -> TensorReport:
    graph = read_onnx(model(example, arrays, 1))
    (one,) = judge(graph, fed(arrays) | {"y0": found}).tensors
    return one


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_mistake_is_named(kind: str) -> None:
    named, examples = set[str](), [one for one in EXAMPLES if kind == one.operator.TYPE]
    many = len(examples) > MANY
    tried = 1 if many else 3  # in each example, other ones; each is searched among all
    for place, example in enumerate(examples):
        arrays = drawn(example, 3)
        every = list(mistakes(example.operator, seen(example, arrays)))
        step = 1 + len(every) // tried
        for mistake, found in planted(every[place % step :: step], example, arrays):
            if many and pattern(mistake) in named:
                continue
            report = judged(example, arrays, found)
            if report.verdict not in ("different", "coarse"):
                assert not report.causes
                continue
            some_seen = seen(example, arrays)
            assert is_named(mistake, report.causes, example.operator, some_seen), (
                str(example),
                mistake.name,
                report,
            )
            named.add(pattern(mistake))
    assert (not named) == (kind in NOTHING)


@pytest.mark.slow
def test_every_mistake_says_what_it_is_and_what_to_do() -> None:
    for example in EXAMPLES:
        arrays = drawn(example, 3)
        found = list(mistakes(example.operator, seen(example, arrays)))
        assert len({one.name for one in found}) == len(found), str(example)
        for one in found:
            assert one.explanation.endswith("."), one
            assert one.remedy.endswith("."), one
            assert not one.case or one.case.count("#") == 1


@pytest.mark.parametrize("form", [BFLOAT16, FLOAT16], ids=lambda form: form.name)
@pytest.mark.parametrize("kind", ["Add", "Conv", "Gelu", "LayerNormalization", "MatMul", "Relu", "Softmax"])
def test_results_in_a_shorter_format_are_named(kind: str, form: Format) -> None:
    example = next(one for one in EXAMPLES if kind == one.operator.TYPE and drawn(one)[0].ndim > 1)  # type: ignore[union-attr]
    arrays = drawn(example, 3)
    right = outputs(example.operator, arrays)[0].value
    report = judged(example, arrays, form.round(right).astype(np.float32))
    alike = {"result with 10 bits of fraction: TF32 or float16"} if form is FLOAT16 else set()
    assert ({f"result rounded to {form.name}"} | alike) & {one.name for one in report.causes}, report
