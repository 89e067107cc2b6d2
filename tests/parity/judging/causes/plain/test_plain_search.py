"""What the search tries, and in which order: one mistake, the same at several nodes, two. None is judged."""

from collections.abc import Callable, Mapping, Sequence
from time import thread_time
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Number
from parity.judging.causes.mistake import Changed, mistakes, with_input
from parity.judging.causes.search import pairs
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made, one_mistake
from parity.judging.causes.search.pairs import two_mistakes
from parity.judging.causes.search.stretch import Stretch
from parity.operators.activation import LeakyRelu, Relu
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of
from tests.parity.judging.causes.three_nodes import (
    RIGHT,
    WIDE,
    W,
    X,
    leaky,
    one_made,
    operator_of,
    stretch,
    wrong,
    wrong_in,
)

NEVER = Clock(np.inf, 0.0)
SQUARE = {f"w{k}": drawn(6, 6, seed=k) for k in range(3)} | {f"b{k}": drawn(6, seed=7 + k) for k in range(3)}
TWO = [
    N("Gemm", ["x", "w0", "b0"], ["m"]),
    N("Relu", ["m"], ["r"]),
    N("Gemm", ["r", "w1", "b1"], ["n"]),
    N("Relu", ["n"], ["y"]),
]


def used(nodes: Sequence[Any], constants: Mapping[str, Array]) -> dict[str, Array]:
    names = {name for node in nodes for name in node.input}
    return {name: a for name, a in constants.items() if name in names}


def tried(nodes: Sequence[Any], constants: Mapping[str, Array], found: Array, **inputs: Any) -> list[Made]:
    graph = graph_of(list(nodes), used(nodes, constants), "".join(inputs))
    return list(one_mistake(wrong_in(graph, found, **inputs), graph))


FOUND = drawn(4, 6, seed=5)


# Each test computes anew what it looks at: of a value that is kept, a later test would notice no change of
# the code, and mutation testing would not run it.


def two_layers() -> Several:
    return Several(TWO, used(TWO, SQUARE), x=X)


def every() -> list[Made]:
    """All that is tried of the two layers."""
    return tried(TWO, SQUARE, FOUND, x=X)


def before_parameters(made: list[Made]) -> list[Made]:
    """Mistakes of one node, and the same at both layers."""
    return made[: [one.name for one in made].index("weights not loaded: input 1 of Gemm is zero")]


# --- one mistake ---------------------------------------------------------------------------------


def test_the_first_mistakes_of_all_nodes_come_before_the_second_ones():
    """Those of the last node may be read off the candidate's values."""
    right, alone = two_layers(), [one for one in before_parameters(every()) if one.places]
    expected = []
    for place, node in enumerate(right.stretch.nodes):
        assert node.operator is not None
        seen = right.seen(node.outputs[0])
        if node.outputs[0] == "y":
            seen = type(seen)(
                seen.inputs, FOUND, *(getattr(seen, k) for k in ("node", "nodes", "values", "graph"))
            )
        for rank, one in enumerate(mistakes(node.operator, seen)):
            expected.append((rank, place, one.name))
    assert [(one.places[0], one.name) for one in alone] == [
        (place, name) for _, place, name in sorted(expected, key=lambda one: one[:2])
    ]
    assert not any(one.single for one in alone)


def test_a_mistake_at_several_nodes_comes_once_it_is_known_of_them():
    """Behind the mistakes of the same rank, before the next."""
    made, right = every(), two_layers().stretch
    place_and_rank: dict[int, tuple[int, int]] = {}
    for k, one in enumerate(before_parameters(made)):
        if one.places:
            (place,) = one.places
            place_and_rank[k] = (place, sum(before == place for before, _ in place_and_rank.values()))
    together = [k for k, one in enumerate(made) if one.name.endswith(", at 2 nodes")]
    assert len(together) > 50
    for k in together:
        one, name = made[k], made[k].name.removesuffix(", at 2 nodes")
        own = [
            j for j in place_and_rank if (made[j].name, made[j].nodes[0].type) == (name, one.nodes[0].type)
        ]
        assert changed(one, right) == sorted(place_and_rank[j][0] for j in own)
        first = min(own, key=lambda j: place_and_rank[j])
        assert (one.places, one.start, one.nodes) == ((), made[first].start, made[first].nodes)
        before = [rank for j, (_, rank) in place_and_rank.items() if j < k]
        assert before[-1] == max(place_and_rank[j][1] for j in own)
        assert k + 1 == len(made) or place_and_rank.get(k + 1, (0, before[-1] + 1))[1] == before[-1] + 1
    assert len({(made[k].name, made[k].nodes[0].type) for k in together}) == len(together)


def test_the_same_at_three_nodes_is_tried_once():
    nodes = [*TWO[:3], N("Gemm", ["n", "w2", "b2"], ["y"])]
    found = [one.name for one in tried(nodes, SQUARE, FOUND, x=X)]
    assert found.count("bias missing, at 3 nodes") == 1
    assert "bias missing, at 2 nodes" not in found


def changed(one: Made, right: Stretch) -> list[int]:
    """The places of nodes that are not the right ones."""
    assert isinstance(one.operator, Stretch)
    both = zip(one.operator.nodes, right.nodes, strict=True)
    return [
        k for k, (made, own) in enumerate(both) if (made.operator, made.inputs) != (own.operator, own.inputs)
    ]


def test_a_mistake_is_made_at_its_places_and_no_node_before_its_start_is_changed():
    right = two_layers().stretch
    for one in every():
        if isinstance(one.operator, Stretch):
            places = changed(one, right)
            assert places, one.name
            assert one.places in ((), tuple(places)), one.name
            assert one.start in (None, places[0]), one.name
            assert one.start is None or one.nodes[0].outputs == one.operator.nodes[places[0]].outputs


def test_what_is_made_most_often_comes_first_and_exchanges_come_last():
    order = [
        "parameters stored in float16",
        "bias missing",
        "bias added behind Relu",
        "result of Relu rounded to bfloat16",
        "weights not loaded: input 1 of Gemm is zero",
        "parameters of n for those of m",
        "products in bfloat16, added up in float32 (half precision, autocast)",
        "parameters of m and n exchanged",
    ]
    made = every()
    names = [one.name for one in made]
    places = [names.index(name) for name in order]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == len(names) - 1
    assert [one.start for one in made if one.start is None] == [None] * 3  # of all products


def test_values_in_another_layout_and_dropout_are_of_the_whole():
    three = drawn(2, 3, 6)
    right = np.maximum(three, 0)
    made = tried([N("Relu", ["x"], ["y"])], {}, right.transpose(0, 2, 1), x=three)
    whole = [one for one in made if not isinstance(one.operator, Stretch)]
    assert whole
    assert all((one.places, one.start, one.single) == ((), None, False) for one in whole)
    dropped = np.where(np.random.default_rng(0).random(right.shape) < 0.5, 0, 2 * right)
    assert any("dropout" in one.name for one in tried([N("Relu", ["x"], ["y"])], {}, dropped, x=three))


def test_lengths_are_left_alone_unless_they_are_what_is_wrong():
    nodes = [N("Cast", ["x"], ["i"], to=7), N("Mul", ["i", "t"], ["j"]), N("Cast", ["j"], ["f"], to=1)]
    constants = {"t": np.array([2, 3])}
    x, found = np.array([[2.0, 5]], np.float32), np.array([[3.0, 4]])
    behind = tried([*nodes, N("Neg", ["f"], ["y"])], constants, found, x=x)
    assert {one.nodes[0].type for one in behind if one.places} == {"Cast", "Neg"}
    last = tried([nodes[0], N("Mul", ["i", "t"], ["y"])], constants, found, x=x)
    assert "Mul" in {one.nodes[0].type for one in last if one.places}
    floats = tried([N("Mul", ["x", "t"], ["j"]), N("Neg", ["j"], ["y"])], {"t": X[:1, :2]}, found, x=x)
    assert "Mul" in {one.nodes[0].type for one in floats if one.places}


def test_where_one_number_is_computed_is_told():
    nodes = [N("ReduceMean", ["x"], ["m"], keepdims=0), N("Exp", ["m"], ["e"]), N("Mul", ["x", "e"], ["y"])]
    for one in tried(nodes, {}, FOUND, x=X):
        if one.places:
            assert one.single == (one.nodes[0].type == "Exp"), one.name


def test_integers_behind_a_layer_may_stay_floats_and_may_saturate():
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["q"]),
        N("DequantizeLinear", ["q", "s", "z"], ["a"]),
        N("DequantizeLinear", ["w", "s"], ["b"]),
        N("MatMul", ["a", "b"], ["y"]),
    ]
    w = np.random.default_rng(0).integers(-128, 128, (6, 5)).astype(np.int8)
    constants: dict[str, Array] = {"s": np.array(0.05, np.float32), "z": np.array(128, np.uint8), "w": w}
    made = tried(nodes, constants, drawn(4, 5), x=X)
    assert made[0].name.startswith("pairs of products added in 16 bits")
    assert (made[0].places, made[0].start, made[0].nodes[0].type) == ((), 3, "MatMul")
    (floats,) = [one for one in made if one.name.startswith("not quantized")]
    assert (floats.start, floats.nodes[0].type) == (0, "QuantizeLinear")


# --- two mistakes --------------------------------------------------------------------------------


def times(factor: float) -> Callable[[Number, Any], Number]:
    return lambda y, inputs: y * factor


def singles() -> dict[str, Made]:
    """Mistakes of one node each, by name."""
    turned = with_input(operator_of(0), 1, lambda w: w.move(lambda a: a[::-1]))
    some = [
        one_made("turned", turned, 0),
        one_made("leaky", LeakyRelu(alpha=0.5)),
        one_made("steeper", LeakyRelu(alpha=0.75)),
        one_made("halved", Changed(Relu(), after=times(0.5))),
        one_made("smaller", Changed(operator_of(2), after=times(0.25)), 2),
    ]
    return {one.name: one for one in some}


def single(*names: str) -> list[Made]:
    return [singles()[name] for name in names]


TURNED_WIDE = X.astype(np.float64) @ W[::-1]


def pairs_for(found: Array, clock: Clock = NEVER) -> list[Made]:
    return list(two_mistakes(Look(wrong(found)), list(singles().values()), clock))


@pytest.mark.parametrize(
    ("found", "name", "places"),
    [
        (-leaky(TURNED_WIDE, 0.5), "turned, and in r: leaky", (0, 1)),
        (-0.125 * np.maximum(WIDE, 0), "halved, and in y: smaller", (1, 2)),
        (-0.5 * np.maximum(TURNED_WIDE, 0), "turned, and in r: halved", (0, 1)),
        (-0.5 * leaky(WIDE, 0.75), "steeper, and halved", (1, 1)),
    ],
)
def test_two_mistakes_that_come_near_are_made_together(found, name, places):
    (one,) = pairs_for(found)
    assert (one.name, one.places, one.start) == (name, places, places[0])
    assert [node.outputs[0] for node in one.nodes] == ["mry"[k] for k in places]
    assert isinstance(one.operator, Stretch)
    made = [k for k, node in enumerate(one.operator.nodes) if node.operator != operator_of(k)]
    assert made == sorted(set(places))
    assert wrong(found).explained_by(one.operator)


def test_two_mistakes_that_exclude_each_other_are_no_pair():
    """Two slopes, and what reads other tensors."""
    slope, steeper, halved = single("leaky", "steeper", "halved")
    assert pairs._at_one(stretch(), slope, steeper) is None
    elsewhere = one_made("elsewhere", LeakyRelu(alpha=0.5), inputs=("x",))
    for one, other in ((elsewhere, halved), (halved, elsewhere)):
        assert pairs._at_one(stretch(), one, other) is None
    assert pairs._at_one(stretch(), halved, slope) is not None


def test_no_pair_is_tried_of_one_value_or_without_time():
    found = -leaky(TURNED_WIDE, 0.5)
    assert pairs_for(found)
    assert not pairs_for(np.full_like(found, -2.0))
    assert not pairs_for(found, clock=Clock(thread_time() - 1, 0.0))


def runs(some: Sequence[Made], found: Array = RIGHT) -> list[str]:
    return [run.made.name for run in pairs._runs(Look(wrong(found)), some, NEVER)]


def test_the_first_mistakes_of_each_node_are_run_first():
    some = single("leaky", "steeper", "halved", "turned")
    assert runs(some) == ["leaky", "turned", "steeper", "halved"]
    alone = pairs._alone(single("leaky", "steeper", "turned"))
    ranks = [(rank, number, one.name) for rank, number, one in alone]
    assert ranks == [(1, 0, "leaky"), (2, 1, "steeper"), (1, 2, "turned")]


def test_what_is_no_mistake_of_one_node_is_not_combined():
    """At several nodes; what values show by themselves; the same or right values again; other shapes."""
    slope, steeper = single("leaky", "steeper")
    at_two = Made(slope.nodes, slope.mistakes, slope.operator, (), 1)
    shown = one_made("shown", LeakyRelu(alpha=0.6), read_off=True)
    again = one_made("again", LeakyRelu(alpha=0.5))
    nothing = one_made("nothing", Relu())
    upright = one_made("upright", Changed(operator_of(2), after=lambda y, inputs: y.transpose(1, 0)), 2)
    misfit = one_made("misfit", with_input(operator_of(0), 1, lambda w: w.transpose(1, 0)), 0)
    some = [at_two, shown, slope, again, nothing, upright, misfit, steeper]
    assert runs(some) == ["leaky", "steeper"]
    assert runs(some, RIGHT.T) == ["leaky", "upright", "steeper"]


def test_no_more_is_kept_for_pairs_than_fits(monkeypatch):
    """Of 4 × 5 values: what comes behind a mistake is another tensor."""
    every_single = list(singles().values())
    assert len(runs(every_single)) == 5
    monkeypatch.setattr(pairs, "MOST", 2)
    assert len(runs(every_single)) == 2
    monkeypatch.setattr(pairs, "MOST", 1000)
    for held, count in ((19, 1), (20, 2), (59, 2), (60, 3)):
        monkeypatch.setattr(pairs, "HELD", held)
        assert len(runs(single("smaller", "leaky", "steeper"))) == count, held
    monkeypatch.setattr(pairs, "HELD", 59)
    assert len(runs(single("turned", "steeper", "leaky"))) == 1
