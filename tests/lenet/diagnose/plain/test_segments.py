"""What counts as explaining a stretch of the forward pass, and how mistakes are searched there."""

from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose.mistakes import forward as catalogue
from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.wrong_forward import (
    ROUNDED,
    Call,
    Gridded,
    after,
    before,
    call_of,
    compose,
    grid_bits,
    never_rounds,
    rounded,
    walk,
)
from lenet.diagnose.mistakes.wrong_forward import (
    right as right_layer,
)
from lenet.diagnose.search.batch import Batch, may_explain, not_idle
from lenet.diagnose.search.explain import (
    generic,
    handed_out_matches,
    shown,
    single_matches,
    stages_between,
    tells_apart,
    within_segment,
)
from lenet.diagnose.search.segment import Count, Sample, Segment, excluded, fits, within
from lenet.diagnose.search.two_mistakes import Clock, pair_matches
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, FLOAT64
from tests.lenet.diagnose.plain.network import Array, drawn, input_of, own, right, wide
from tests.lenet.diagnose.plain.segments import DENSE, HALF, absolute, halved, segment, unbiased
from tests.parity.operators.one_node import check_inside


def mistake(name: str, *stages: str) -> Mistake:
    return next(m for m in catalogue(stages) if m.kind.name == name and m.stages == stages)


def test_a_right_segment_is_right_and_a_wrong_one_is_not():
    for dtype in ("float32", "float64"):
        good, bad = segment(DENSE, dtype), segment(DENSE, dtype, relu4=halved)
        assert good.is_right
        assert good.could_round
        assert not bad.is_right
        assert not bad.could_round
        assert bad.explains(HALF)
        assert bad.proves(HALF)
        assert bad.differs(HALF)
        assert not good.explains(HALF)
        assert not good.proves(HALF)
        assert not good.differs({})
        assert [len(states) for states in good.right] == [4, 4]
        assert bad.need(HALF) <= 1 < bad.need({})
    assert good.target == "logits"


def test_a_bound_that_holds_everything_explains_and_proves_nothing():
    loose = {"relu4": after(lambda y, call: Bounded(y.value, np.full(y.shape, 1e3)))}
    bad = segment(DENSE, relu4=halved)
    assert bad.explains(loose)
    assert not bad.proves(loose)
    assert not bad.differs(loose)


def test_the_first_digit_of_the_last_sample_comes_first():
    whole = segment(DENSE)
    head = whole.head(1)
    assert [len(sample.x.value) for sample in head.samples] == [1, 1]
    assert (head.samples[0].seen == whole.samples[1].seen[:1]).all()
    assert (head.samples[0].x.value == whole.samples[1].x.value[:1]).all()
    assert head.samples[0].params is whole.samples[1].params


def test_shapes_that_do_not_fit_are_no_error():
    samples = tuple(Sample(Bounded(np.ones((2, 50))), np.ones((2, 10)), wide(drawn(seed))) for seed in (0, 1))
    broken = Segment(DENSE, samples, "float32", {})
    assert [len(states) for states in broken.right] == [1, 1]
    assert broken.expected(0, {}) is None
    assert not broken.is_right
    assert broken.proves({})  # the right network cannot take these shapes
    assert broken.differs({})
    assert shown(broken).examples == ()
    cut = {"fc2": before(lambda call: replace_x(call, call.x.value[:, :1]))}
    assert segment(DENSE).expected(0, cut) is None


def replace_x(call: Call, value: Array) -> Call:
    return replace(call, x=Bounded(value))


def test_values_fit_within_bounds_or_where_a_sum_overflows():
    largest = float(np.finfo(np.float32).max)
    expected = Bounded(np.array([1.0, 2.0, largest, 5.0]), np.array([0.0, 0.25, 0.0, largest / 2**24]))
    seen = np.array([1.0, 2.25, np.inf, np.nan])
    assert within(seen, expected, "float32").tolist() == [True, True, True, True]
    assert within(seen, expected, "float64").tolist() == [True, True, False, False]
    assert within(np.array([1.1, 2.3, 0, 0]), expected, "float32").tolist() == [False, False, True, True]
    assert fits(seen, expected)
    assert not fits(seen[:3], expected)
    grid = Gridded(np.array([1.0, 2.0]), np.full(2, 0.5), grid=np.rint, coarser=lambda a: 2 * np.rint(a / 2))
    assert fits(np.array([1.0, 2.0]), grid)
    assert not fits(np.array([1.25, 2.0]), grid)


def test_a_bound_excludes_what_lies_beyond_it():
    wrong, right_ = (
        Bounded(np.array([1.0, 1.0, 1.0]), np.array([0.5, 2.0, np.inf])),
        Bounded(np.array([2.0] * 3)),
    )
    assert excluded(wrong, right_).tolist() == [True, False, False]
    assert excluded(wrong, Bounded(np.ones(2))).tolist() == [True] * 3
    grid = Gridded(np.ones(3), np.ones(3), grid=np.rint, coarser=np.rint)
    near = Bounded(np.array([1.0, 1.2, 1.4]), np.array([0.0, 0.1, 0.5]))
    assert excluded(grid, near).tolist() == [False, True, False]


def test_a_mistake_is_proved_by_more_than_half_of_what_departs():
    right_ = Bounded(np.zeros(4), np.full(4, 0.1))
    seen = np.array([1.0, 1.0, 0.0, 1.0])
    for wrong, departing, proving, most in (
        (Bounded(np.ones(4), np.full(4, 0.1)), 3, 3, True),
        (Bounded(np.ones(4), np.array([0.1, 0.1, 0.1, 5.0])), 3, 2, True),
        (Bounded(np.ones(4), np.array([0.1, 5.0, 0.1, 5.0])), 3, 1, False),
        (Bounded(np.full(4, 3.0), np.full(4, 1.5)), 3, 0, False),  # larger than what it explains
    ):
        count = Count()
        count.add(seen, wrong, right_, "float32")
        assert (count.departing, count.proving, count.most) == (departing, proving, most)
    count = Count()
    count.add(np.ones(2), Bounded(np.ones(2)), right_, "float32")
    assert (count.departing, count.proving) == (2, 2)
    count.add(np.ones(4), Bounded(np.zeros(4)), right_, "float32")
    assert (count.departing, count.proving, count.most) == (6, 2, False)


def test_a_coarse_format_needs_a_value_that_is_not_one_of_a_coarser_one():
    def to_grid(y, call):
        return Gridded(
            y.value, np.full(y.shape, 1e3), grid=lambda a: np.rint(a), coarser=lambda a: 2 * np.rint(a / 2)
        )

    for step, expected in ((1, True), (2, False), (0.5, False)):
        whole = segment(("fc2",))
        for sample in whole.samples:
            sample.seen[...] = np.rint(10 * sample.seen / step) * step
        assert whole.explains({"fc2": after(to_grid)}) is expected


# --- the right network ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv1", "relu1", "pool1", "conv2", "fc2", "relu4", "logits"])
def test_a_right_layer_is_that_of_plain_numpy(name):
    params, x = wide(drawn(3)), input_of(name, 0, 2)
    for dtype, form in (("float32", FLOAT32), ("float64", FLOAT64)):
        found = right_layer(call_of(name, Bounded(x), params, dtype))
        check_inside(found, right(name, x, *own(name, params)), name)
        assert found.format == form
        assert call_of(name, Bounded(x), params, dtype).u == form.u


def test_nothing_rounds_on_a_grid_that_is_coarse_enough():
    x = Bounded(np.array([[1.0, -2.0, 0.5]]))
    w, b = Bounded(np.array([[1.0, 0.25, -1.0], [0.5, 0.5, 0.5]])), Bounded(np.array([2.0**-10, 0.0]))
    assert never_rounds(x, w, b, {})
    # At most 1 · 2.25 · 2 + 2^-10 in steps of 2^-10; 2^24 of them are exact in float32.
    for step, expected in ((2.0**-19, True), (2.0**-22, False)):
        assert never_rounds(x, w, Bounded(np.array([step, 0.0])), {}) is expected
    assert not never_rounds(x, w, Bounded(np.array([0.1, 0.0])), {})
    assert not never_rounds(Bounded(x.value, np.full(x.shape, 1e-9)), w, b, {})
    assert never_rounds(Bounded(x.value, np.zeros(x.shape)), w, b, {})
    assert not never_rounds(Bounded(np.empty((0, 3))), w, b, {})
    assert not never_rounds(x, w, b.move(lambda a: a * np.nan), {})
    known = {"w": w.value, "b": b.value}
    assert never_rounds(x, w, b, known)
    assert never_rounds(x, w, b, known)  # from the cache
    other = {"w": w.value + 2.0**-40}
    assert not never_rounds(x, Bounded(other["w"]), b, other)


@pytest.mark.parametrize(
    ("values", "bits"),
    [([1.0, 2.0], 0), ([0.5, 3.0], 1), ([0.0], -60), ([4.0, 12.0], -2), ([2.0**-60], 60), ([2.0**-61], None)],
)
def test_the_grid_of_numbers_is_found(values, bits):
    assert grid_bits(np.array(values)) == bits
    assert grid_bits(np.array([*values * 400, *values])) == bits


def test_a_number_off_the_grid_is_found_among_many():
    many = np.ones(10_000)
    many[4711] = 1 + 2.0**-30
    assert grid_bits(many) == 30
    assert grid_bits(np.array([1.0, np.inf])) is None
    assert grid_bits(np.array([0.1])) == 55


def test_roundings_may_be_taken_where_there_are_none():
    params = wide(drawn(3)) | {"fc2.weight": np.ones((84, 120)), "fc2.bias": np.ones(84)}
    call = call_of("fc2", Bounded(np.ones((2, 120))), params, "float32")
    assert not right_layer(call).bound.any()
    assert (rounded(call).bound > 0).all()
    assert set(ROUNDED) == {"conv1", "conv2", "fc1", "fc2", "logits"}


def test_of_two_changes_in_a_layer_the_first_is_the_outermost():
    plus = {"relu4": after(lambda y, call: Bounded(y.value + 1))}
    twice = {"relu4": after(lambda y, call: Bounded(2 * y.value)), "fc2": after(lambda y, call: y)}
    x = Bounded(np.array([[3.0]]))
    assert walk(["relu4"], x, {}, "float32", compose(plus, twice)).value == 7
    assert walk(["relu4"], x, {}, "float32", compose(twice, plus)).value == 8
    assert compose(plus, twice).keys() == {"relu4", "fc2"}


# --- the search ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stage", "wrong"),
    [
        ("bias missing", "fc2", unbiased),
        ("absolute value for ReLU", "relu4", lambda x, w, b: np.abs(x)),
        ("ReLU cut off at 1", "relu1", lambda x, w, b: np.clip(x, 0, 1)),  # which is read off
    ],
)
def test_a_single_mistake_is_found_by_itself(name, stage, wrong):
    alone = segment((stage,), "float32", 3, **{stage: wrong})
    matches = single_matches(alone)
    names = [kind.name for match in matches for kind, _ in match.kinds]
    assert name in names
    assert len(names) <= 2  # a bias may still be added later
    assert matches[0].kinds[0][1] == (stage,)
    assert all((a == b.seen).all() for a, b in zip(matches[0].starts, alone.samples, strict=True))


@pytest.mark.slow
def test_two_mistakes_are_found_in_two_layers():
    both = segment(("relu4", "logits"), digits=2, relu4=lambda x, w, b: np.abs(x), logits=unbiased)
    assert single_matches(both) == []
    clock = Clock()
    assert not clock.is_over
    found = pair_matches(both, clock)
    names = [{kind.name for kind, _ in match.kinds} for match in found]
    assert any("bias missing" in one and len(one) == 2 for one in names), names
    clock._end = 0.0
    assert clock.is_over
    assert pair_matches(both, clock) == []


@pytest.mark.slow
def test_two_habits_are_found_in_several_layers_each():
    stages = ("relu3", "fc2", "relu4", "logits")
    wrong = {"fc2": unbiased, "logits": unbiased, "relu3": absolute, "relu4": absolute}
    found = pair_matches(segment(stages, "float32", 2, **wrong), Clock())
    pairs = [{(kind.name, where) for kind, where in match.kinds} for match in found]
    assert {
        ("bias missing", ("fc2", "logits")),
        ("absolute value for ReLU", ("relu3", "relu4")),
    } in pairs, pairs


@pytest.mark.slow
def test_two_mistakes_are_found_in_one_layer():
    def wrong(x: Array, w: Array, b: Array) -> Array:
        return x @ -w.T

    found = pair_matches(segment(("logits",), digits=2, logits=wrong), Clock())
    names = [{kind.name for kind, _ in match.kinds} for match in found]
    assert any("bias missing" in one for one in names), names
    assert all(where == ("logits",) for match in found for _, where in match.kinds)


def test_only_mistakes_within_the_segment_are_tried():
    def made(*stages: str, **more) -> Mistake:
        return Mistake(Kind("m", "M.", "M."), dict.fromkeys(stages, lambda compute: compute), **more)

    one = segment(("fc2", "relu4"))
    inside, across, behind = made("fc2"), made("fc2", "logits"), made("logits")
    assert list(within_segment([inside, across, behind], one)) == [inside]
    pending, before_ = made("fc2", "logits", pending=True), made("fc1", "fc2", pending=True)
    assert list(within_segment([pending, before_], one)) == [pending]
    habit = made("fc1", "fc2", "relu4", habit=True)
    (part,) = within_segment([habit], one)
    assert part.stages == ("fc2", "relu4")
    assert not list(within_segment([made("fc1", "fc2", habit=True)], one))
    assert not list(within_segment([made("relu4", told_by="fc2")], one))
    assert list(within_segment([made("fc2", told_by="relu4")], one))


def test_mistakes_are_tried_as_one_batch():
    bad = segment(DENSE, fc2=unbiased)
    wrong, other = mistake("bias missing", "fc2"), mistake("bias missing", "logits")
    mixing = Mistake(Kind("m", "M.", "M."), HALF, whole_batch=True)
    assert may_explain([wrong, other, mixing], bad) == [wrong, mixing]
    idle = Mistake(Kind("i", "I.", "I."), {"relu4": lambda compute: compute})
    assert not_idle([wrong, idle, other], bad.head(1)) == [wrong, other]


def test_rows_of_one_shape_are_put_together():
    rows = [
        (["a"], Bounded(np.ones((1, 3)))),
        (["b"], Bounded(np.full((1, 3), 2.0))),
        (["c"], Bounded(np.ones((1, 4)))),
        (["d"], Bounded(np.ones((1, 3)), np.full((1, 3), 0.5))),
        (["e"], None),
        (["f"], Bounded(np.ones((2, 3)))),
    ]
    batch = Batch.of(rows)
    assert [owners for owners, _ in batch.rows] == [["a", "b"], ["c"], ["d"]]
    assert list(batch.fitting(np.array([[1.0, 1.0, 1.0]]), "float32")) == ["a", "d"]
    assert list(batch.fitting(np.array([[1.25, 1.0, 1.0]]), "float32")) == ["d"]
    assert list(batch.differing(Bounded(np.ones((1, 3))))) == ["b", "c"]


def test_stages_between_two_layers():
    assert stages_between("", "conv1") == ("image", "conv1")
    assert stages_between("relu3", "relu4") == ("fc2", "relu4")


def test_right_values_in_another_form_are_told():
    maps = segment(("pool1",), pool1=lambda x, w, b: right("pool1", x).transpose(0, 2, 3, 1))
    (match,) = handed_out_matches(maps)
    assert match.kinds[0][0].name == "handed out as NHWC"
    assert match.kinds[0][1] == ("pool1",)
    for start, sample in zip(match.starts, maps.samples, strict=True):
        assert start.shape == (3, 6, 4, 4)
        assert (start == sample.seen.transpose(0, 3, 1, 2)).all()
    assert handed_out_matches(segment(("pool1",))) == []
    behind = segment(("fc2",), fc2=lambda x, w, b: np.maximum(right("fc2", x, w, b), 0))
    assert [m.kinds[0][0].name for m in handed_out_matches(behind)] == ["handed out after ReLU"]


def test_two_explanations_are_told_apart_by_other_inputs():
    one = {"relu4": after(lambda y, call: Bounded(y.value * 2, y.bound * 2))}
    far = generic(segment(DENSE))
    assert len(far.samples) == 1
    assert far.samples[0].x.shape == (4, 120)
    assert tells_apart(far, one, {})
    assert not tells_apart(far, one, dict(one))
    unfit = {"fc2": before(lambda call: replace_x(call, call.x.value[:, :1]))}
    assert tells_apart(far, one, unfit)
    assert not tells_apart(far, unfit, dict(unfit))
