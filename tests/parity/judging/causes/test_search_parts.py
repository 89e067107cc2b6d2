"""The parts of the search by themselves: a first look, the proof, the order of pairs, a stretch."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from parity.errors import Unjudged
from parity.judging.causes.mistake import Changed, Mistake
from parity.judging.causes.search import explaining, pairs
from parity.judging.causes.search import wrong as proof
from parity.judging.causes.search.apart import SAME, told_apart
from parity.judging.causes.search.first_look import Fast, Look, fast
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.judging.causes.search.wrong import Wrong
from parity.judging.verdict import TensorReport
from parity.operators.activation import HIGHER, LeakyRelu, Relu
from parity.operators.elementwise import Identity
from parity.operators.functions import SQRT
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of
from tests.parity.judging.causes.three_nodes import (
    FOUND,
    GRAPH,
    LEAKY,
    RIGHT,
    WIDE,
    W,
    X,
    mistake,
    operator_of,
    question,
    stretch,
    wrong,
    wrong_in,
)
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

# --- stretches ---------------------------------------------------------------------------------


def test_a_stretch_holds_the_nodes_between_recorded_tensors():
    whole, part = stretch(), stretch(GRAPH, "m")
    assert [node.type for node in whole.nodes] == ["MatMul", "Relu", "Neg"]
    assert (whole.names, whole.result) == (("x", "w"), "y")
    assert [node.type for node in part.nodes] == ["Relu", "Neg"]
    assert part.names[0] == "m"
    assert [node.type for node in stretch(GRAPH, tensor="r").nodes] == ["MatMul", "Relu"]


def test_a_stretch_is_run_from_a_node_to_another():
    one = stretch()
    known = {"x": Bounded(X), "w": Bounded(W)}
    assert set(one.run(known, 0, 1)) == {"x", "w", "m"}
    assert set(one.run(known, 0)) == {"x", "w", "m", "r", "y"}
    some = one.run({"m": Bounded(WIDE)}, 1)
    check_inside(some["y"], RIGHT)
    points = (np.array([0, 3, 2]), np.array([1, 4, 0]))
    found = one.sample(points, Bounded(X), Bounded(W))
    check_inside(found, RIGHT[points])
    middle = replace(one, result="r")  # not what the last node returns
    check_inside(middle.sample(points, Bounded(X), Bounded(W)), -RIGHT[points])


def test_a_mistake_changes_its_node_alone_and_perhaps_its_inputs():
    assert [
        node.operator == other.operator for node, other in zip(LEAKY.nodes, stretch().nodes, strict=True)
    ] == [
        True,
        False,
        True,
    ]
    check_inside(LEAKY.evaluate(Bounded(X), Bounded(W)), FOUND)
    elsewhere = stretch().with_mistakes({2: mistake(stretch().nodes[2].operator, inputs=("m",))})
    assert elsewhere.nodes[2].inputs == ("m",)
    check_inside(elsewhere.evaluate(Bounded(X), Bounded(W)), -WIDE)


# --- a first look ------------------------------------------------------------------------------


def test_a_look_tells_what_is_near():
    look = Look(wrong(FOUND))
    assert look.sees
    assert look.is_near(LEAKY, 1)
    assert not look.is_near(stretch(), 1)
    assert not look.is_near(stretch().with_mistakes({1: mistake(LeakyRelu(alpha=0.6))}), 1)
    assert look.is_near(LEAKY, 2, LEAKY.values([fast(Bounded(X)), fast(Bounded(W))]))
    assert not look.is_near(LEAKY, 2)  # of right values before


@pytest.mark.parametrize("form", [BFLOAT16, FLOAT16], ids=lambda form: form.name)
def test_a_look_sees_values_of_short_formats(form):
    one = wrong(FOUND)
    look = Look(replace(one, found=form.round(FOUND), right=replace(one.right, format=form)))
    assert look.sees
    assert look.is_near(LEAKY, 1)
    assert not look.is_near(stretch().with_mistakes({1: mistake(LeakyRelu(alpha=5.0))}), 1)
    values = fast(Bounded(form.round(X)))
    assert values is not None
    assert values.value.tolist() == form.round(X).astype(float).tolist()


def test_a_look_at_integers_sees_nothing():
    look = Look(replace(wrong(FOUND), found=FOUND.astype(int)))
    assert not look.sees
    assert look.is_near(stretch(), 1)


def test_the_shape_of_what_is_behind_a_mistake_must_fit():
    """Unless a node behind it has the right shape of any, or the candidate's shape is wrong itself."""
    few = mistake(Changed(Relu(), after=lambda y, inputs: y.move(lambda a: a[:2])))
    one, values = (
        stretch().with_mistakes({1: few}),
        {name: fast(Bounded(a)) for name, a in {"m": X[:, :5], "r": X[:2, :5]}.items()},
    )
    assert not Look(wrong(FOUND))._may_fit(one, 1, values)  # type: ignore[arg-type]
    assert Look(wrong(FOUND.T, misshapen=True))._may_fit(one, 1, values)  # type: ignore[arg-type]
    more = Changed(LeakyRelu(alpha=0.5), after=lambda y, _: y.move(lambda a: np.concatenate([a, a[:1]])))
    assert not Look(wrong(FOUND)).is_near(stretch().with_mistakes({1: mistake(more)}), 1)
    nodes = [N("Relu", ["x"], ["r"]), N("GlobalMaxPool", ["r"], ["g"]), N("Neg", ["g"], ["y"])]
    image = np.stack([X, X])[None]
    looked = Look(
        wrong_in(graph_of(nodes, {}, "x"), -np.maximum(X[:3], 0).max() * np.ones((1, 2, 1, 1)), x=image)
    )
    half = Changed(Relu(), after=lambda y, inputs: y.move(lambda a: a[..., :3, :]))
    assert looked.is_near(looked.stretch.with_mistakes({0: mistake(half)}), 0)


def test_what_depends_on_a_rounding_is_not_looked_at():
    graph = graph_of([N("Relu", ["x"], ["r"]), N("Floor", ["r"], ["f"]), N("Neg", ["f"], ["y"])], {}, "x")
    look = Look(wrong_in(graph, np.full(X.shape, 7), x=X))
    assert look.is_near(look.stretch, 0)
    assert look.is_near(look.stretch, 1)
    assert not look.is_near(look.stretch, 2)
    assert not look.is_near(look.stretch, 0, look.right)


def test_what_is_unknown_is_no_reason_against_a_mistake():
    found = FOUND.copy()
    found[0] = np.nan
    assert Look(wrong(found)).is_near(LEAKY, 1)
    vague = Changed(Relu(), after=lambda y, inputs: y.either(y + 1.0))
    assert Look(wrong(FOUND)).is_near(stretch().with_mistakes({1: mistake(vague)}), 1)
    few = Changed(Relu(), after=lambda y, inputs: y.move(lambda a: a[:2]))
    assert not Look(wrong(FOUND)).is_near(stretch().with_mistakes({1: mistake(few)}), 1)


def test_fast_values_are_float64_and_integers_stay_integers():
    x, i = Fast(np.array([1.5, -2.0]), FLOAT64), Fast(np.array([3, 4]), FLOAT64)
    for found, expected in (
        (x + 1.0, [2.5, -1.0]),
        (x * i, [4.5, -8.0]),
        (i + i, [6, 8]),
        (i * 2, [6, 8]),
        (i * 2.0, [6, 8]),
        (x.move(lambda a: a[::-1]), [-2.0, 1.5]),
        (x.sum((0,)), [-0.5]),
        (i.sum((0,)), [7]),
        (x.either(Fast(np.array([1.5, 3.0]), FLOAT64)), [1.5, np.nan]),
        (i.either(Fast(np.array([5, 6]), FLOAT64)), [5, 6]),
        (Fast(np.array([[1.0, 2.0]]), FLOAT64).dot(Fast(np.array([[3.0], [4.0]]), FLOAT64), x), [12.5, 9.0]),
        (Fast(np.array([[1, 2]]), FLOAT64).dot(Fast(np.array([[3], [4]]), FLOAT64)), [11]),
    ):
        assert isinstance(found, Fast)
        assert found.format is FLOAT64
        np.testing.assert_array_equal(found.value.ravel(), expected)
    kinds = [one.value.dtype.kind for one in (i + i, i * 2.0, x + i, i.apply(HIGHER, 2.0), i.apply(SQRT))]
    assert kinds == ["i", "i", "f", "i", "f"]
    assert i.apply(HIGHER, 3.0).value.tolist() == [3, 4]
    assert x.apply(HIGHER, x.move(lambda a: a[::-1])).value.tolist() == [1.5, 1.5]
    small = Fast(np.array([100], np.int8), FLOAT64)
    assert [(small + 100).value.tolist(), (small + small).value.tolist()] == [[-56], [-56]]  # as in an int8
    halves = fast(Bounded(np.array([0.5, 3], np.float16)))
    assert halves is not None
    assert halves.value.dtype.name == "float64"
    assert halves.format is FLOAT64
    whole = fast(Bounded(np.array([1, 2])))
    assert whole is not None
    assert whole.value.dtype.kind == "i"
    assert fast(None) is None


# --- the proof ---------------------------------------------------------------------------------


def test_a_mistake_must_explain_every_value():
    one = wrong(FOUND)
    assert one.explained_by(LEAKY)
    assert one.explained_by(LEAKY, strict=True)
    assert not one.explained_by(stretch())
    other = FOUND.copy()
    other[2, 3] += 0.01
    assert not wrong(other).explained_by(LEAKY)
    assert not wrong(FOUND[:2]).explained_by(LEAKY)  # of another shape


def test_a_constant_proves_nothing_of_a_pair():
    nothing = stretch().with_mistakes({1: mistake(Changed(Relu(), after=lambda y, inputs: y * 0.0))})
    one = wrong(0 * FOUND)
    assert one.explained_by(nothing)
    assert not one.explained_by(nothing, strict=True)


def test_another_shape_is_explained_by_values_that_differ():
    turned = stretch().with_mistakes(
        {2: mistake(Changed(operator_of(2), after=lambda y, _: y.transpose(1, 0)))}
    )
    assert wrong(RIGHT.T, misshapen=True).explained_by(turned)
    flat = stretch().with_mistakes(
        {2: mistake(Changed(Identity(), after=lambda y, _: (y * 0.0).transpose(1, 0)))}
    )
    assert not wrong(0 * RIGHT.T, misshapen=True).explained_by(flat)


def test_what_is_read_off_needs_no_narrow_bound():
    """A bound of 100 admits any values: that is no proof, unless they show the mistake by themselves."""
    wide = Changed(LeakyRelu(alpha=0.5), after=lambda y, _: y.like(y.comparable, np.full(y.shape, 100.0)))
    vague = stretch().with_mistakes({1: mistake(wide)})
    one = wrong(FOUND)
    assert not one.explained_by(vague)
    assert one.explained_by(vague, read_off=True)


def test_the_distance_is_that_of_what_a_mistake_leaves():
    one = wrong(FOUND + 3)
    assert one.off(LEAKY) == pytest.approx(3, rel=1e-6)
    holes = FOUND + 3
    holes[0, 0] = np.inf
    assert wrong(holes).off(LEAKY) == pytest.approx(3, rel=1e-6)


def test_all_values_or_a_sample_of_them_is_judged():
    """As many as there are: all of them."""
    one, given = wrong(FOUND), question(stretch(), {"x": X})
    for sample, count in ((None, 0), (20, 0), (21, 0), (19, 19), (7, 7)):
        some = Wrong.of(one.report, given, one.found, sample)
        assert (some.sample, len(some.points)) == ((sample, 2) if count else (None, 0))
        assert some.seen.shape == ((count,) if count else FOUND.shape)
        assert some.right.shape == some.seen.shape
        assert some.form is FLOAT32
        assert some.explained_by(LEAKY)
        assert not some.explained_by(stretch())
        assert some.off(LEAKY) < some.off(stretch())


def test_a_large_tensor_of_a_wrong_shape_is_not_sampled(monkeypatch):
    report, given = wrong(FOUND, misshapen=True).report, question(stretch(), {"x": X})
    monkeypatch.setattr(proof, "WHOLE", 19)
    with pytest.raises(Unjudged, match="a large tensor of a wrong shape"):
        Wrong.of(report, given, FOUND.T, 5)
    assert Wrong.of(report, given, FOUND.T, 20).sample is None
    monkeypatch.setattr(proof, "WHOLE", 20)
    assert Wrong.of(report, given, FOUND.T, 5).points == ()


def test_most_of_the_errors_must_be_larger_than_the_bound():
    """Right is zero, or is off by half of a negative value: of those, more than a half are larger."""
    errors = np.sort(-WIDE[WIDE < 0] / 2)
    middle = len(errors) // 2
    one = wrong(FOUND)
    share = [one._narrow_share(bounded_of(errors[k] * 1.01)) for k in (middle - 2, middle + 2)]
    assert share[0] is not None
    assert share[1] is not None
    assert share[0] > 0.5 > share[1]
    assert share == [sum(errors > errors[k] * 1.01) / len(errors) for k in (middle - 2, middle + 2)]
    assert one._narrow_share(bounded_of(np.inf)) == 0
    assert wrong(RIGHT)._narrow_share(bounded_of(0.1)) is None


def bounded_of(bound: float) -> Bounded:
    return Bounded(FOUND, np.full(FOUND.shape, bound))


# --- the order of pairs ------------------------------------------------------------------------


def looked(found: Array, right: Array, *results: Array) -> list[tuple[int, int]]:
    """The order of pairs of mistakes that return these results."""
    look = SimpleNamespace(
        stretch=SimpleNamespace(result="y"),
        right={"y": Fast(right, FLOAT64)},
        wrong=SimpleNamespace(found=found),
    )
    runs = [SimpleNamespace(values={"y": Fast(one, FLOAT64)}) for one in results]
    return pairs._in_order(look, runs)  # type: ignore[arg-type]


def test_the_pair_whose_effects_add_up_to_the_error_comes_first():
    """Three orders take turns: two others are first in theirs."""
    right, effects = drawn(9, 8).astype(np.float64), [drawn(9, 8, seed=n) for n in range(1, 9)]
    every = list(combinations(range(8), 2))
    for one, other in ((0, 1), (3, 6), (5, 7)):
        found = right + effects[one] + effects[other]
        order = looked(found, right, *(right + effect for effect in effects))
        assert (one, other) in order[:3]
        assert sorted(order) == every


def test_a_pair_of_large_effects_that_nearly_cancel_comes_as_early_as_the_first_known_and_the_nearest():
    """Whatever the right values are, and though one mistake leaves another shape."""
    *effects, large = (drawn(9, 8, seed=n) for n in range(1, 10))
    error, right = effects[6] + effects[7], 100 * (effects[2] + effects[4]).astype(np.float64)
    effects[6], effects[7] = effects[6] + 100 * large, effects[7] - 100 * large
    effects[3], effects[5] = (
        effects[3] / 100,
        effects[5] / 100,
    )  # which are nearest to the error by themselves
    order = looked(right + error, right, *(right + effect for effect in effects), drawn(3))
    assert set(order[:3]) == {(0, 1), (3, 5), (6, 7)}


def test_the_two_that_come_nearest_by_themselves_come_early_too():
    """Of both effects together, six tenths are seen."""
    right, effects = drawn(9, 8).astype(np.float64), [drawn(9, 8, seed=n) for n in range(1, 9)]
    found = right + 0.6 * effects[4] + 0.6 * effects[6]
    assert (4, 6) in looked(found, right, *(right + effect for effect in effects))[:3]


def test_of_another_shape_pairs_come_as_they_are_known():
    right = np.zeros((3, 4))
    assert looked(np.ones((4, 3)), right, right, right + 1, right + 2) == [(0, 1), (0, 2), (1, 2)]
    assert looked(right, right) == []


def test_a_mistake_of_another_shape_has_no_effect_to_compare():
    right, a = np.zeros((3, 4)), drawn(3, 4).astype(np.float64)
    order = looked(right + 2 * a, right, right + a, np.ones((2, 2)), right + a)
    assert order[0] in ((0, 1), (0, 2))
    assert (0, 2) in order[:2]
    points = (np.array([0, 1]), np.array([0, 1]))
    assert np.isnan(pairs._effect(np.ones(3), right, points)).all()
    some = pairs._effect(np.array([[1.0, 5], [5, np.inf]]), np.zeros((2, 2)), points)
    np.testing.assert_array_equal(some, [1, np.nan])


# --- what would tell two apart -----------------------------------------------------------------


def test_an_input_that_tells_two_mistakes_apart_is_named():
    asked = question(stretch(), {"x": X})
    clock = Clock(np.inf, 0.0)
    assert told_apart(asked, LEAKY, stretch(), GRAPH, clock) == "random normal values of x"
    assert told_apart(asked, LEAKY, LEAKY, GRAPH, clock) == SAME
    assert told_apart(asked, LEAKY, stretch(), GRAPH, Clock(-np.inf, 0.0)) == ""
    limit = stretch().with_mistakes({1: mistake(Changed(Relu(), after=lambda y, inputs: y.minimum(50.0)))})
    assert told_apart(asked, limit, stretch(), GRAPH, clock) == "random normal values times 100 of x"


# --- the report --------------------------------------------------------------------------------


def test_an_overflow_is_a_cause_of_its_own():
    one = explaining._overflow(TensorReport("t", "node", "MatMul"), FLOAT16)
    check_said(one)
    assert (one.tensor, one.node, one.name) == ("t", "node", "overflow in float16")
    assert one.explanation.startswith("A product or a sum on the way is beyond the largest number of float16")
    assert one.remedy == "Compute this operator in float32, or make its input smaller."
    report = replace(TensorReport("y", "y", "Neg"), verdict="coarse", ratio=2.0)
    found = explaining._explained(GRAPH, {"x": X, "y": FOUND.astype(np.float32)}, report, None, np.inf)
    assert [cause.name for cause in found.causes] == [f"overflow in {FLOAT32.name}"]


def test_a_pair_is_named_with_the_nodes_of_both():
    nodes = stretch().nodes
    one, other = (Mistake(name, "", "", Identity()) for name in ("one", "other"))
    assert Made((nodes[0], nodes[1]), (one, other), Identity()).name == "one, and in r: other"
    assert Made((nodes[0], nodes[0]), (one, other), Identity()).name == "one, and other"
    assert Made((nodes[0],), (one,), Identity()).name == "one"
