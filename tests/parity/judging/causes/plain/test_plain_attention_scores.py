"""Scales of written-out scores, and groups that are written out as a reshape: each in plain NumPy."""

import numpy as np

from parity.arithmetic import Bounded
from parity.graph import Graph
from parity.judging.causes import Mistake, mistakes
from parity.judging.causes.mistake import Seen
from tests.parity.judging.causes.plain.layer import Array, Layer
from tests.parity.judging.causes.small_graphs import N, drawn, graph_of
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

SCORES = drawn(2, 3, 5, 7)


def test_the_root_of_the_length_of_another_axis():
    """Not of 1, which is no scale, nor of 4, which is the right one."""
    one = Layer("Div", SCORES, np.array(2, np.float32))
    for length in (2, 3, 5, 7):
        name = f"divisor {length**0.5:.6g} for 2: sqrt({length}), of the length of another axis"
        one.returns(name, SCORES.astype(np.float64) / length**0.5)
    right = Layer("Div", SCORES[:, :, :4], np.array(2, np.float32))
    assert "divisor 2 for 2: sqrt(4), of the length of another axis" not in right.mistakes
    other = Layer("Div", SCORES, np.array(1.5, np.float32))  # the root of no length
    assert not [name for name in other.mistakes if "of another axis" in name]
    single = Layer("Div", SCORES[:1, :1], np.array(2, np.float32))
    said = [name for name in single.mistakes if "of another axis" in name]
    assert len(said) == 2
    factor = Layer("Mul", SCORES, np.array(0.5, np.float32))
    name = f"factor {3**-0.5:.6g} for 0.5: sqrt(3), of the length of another axis"
    factor.returns(name, SCORES.astype(np.float64) / 3**0.5)
    name = "factor of all 3 heads together: 1/sqrt(H·d) for 1/sqrt(d)"
    factor.returns(name, SCORES.astype(np.float64) * 0.5 / 3**0.5)


# --- groups of channels, as PyTorch's exporter writes them ---------------------------------------

IMAGE = drawn(2, 8, 3, 2)
EPSILON = 0.25


def normalized(x: Array, axes: tuple[int, ...]) -> Array:
    x = x.astype(np.float64)
    apart = x - x.mean(axes, keepdims=True)
    return apart / np.sqrt((apart**2).mean(axes, keepdims=True) + EPSILON)


def of_groups(graph: Graph, image: Array) -> dict[str, tuple[Mistake, Bounded]]:
    """The mistakes of the normalization behind a reshape, with what each returns."""
    known: dict[str, Bounded] = {name: Bounded(a) for name, a in graph.constants.items()}
    known["x"] = Bounded(image)
    reshape, norm = graph.nodes
    assert reshape.operator is not None
    assert norm.operator is not None
    known["g"] = reshape.operator.first(known["x"], known["shape"])  # type: ignore[assignment]
    inputs = [known[name] for name in norm.inputs]
    found = {}
    for one in mistakes(norm.operator, Seen(inputs, None, norm, graph.nodes, known)):
        check_said(one)
        result = one.operator.first(*inputs)
        assert isinstance(result, Bounded)
        found[one.name] = one, result
    return found


def test_groups_behind_a_reshape():
    scale, shift = drawn(2, seed=1), drawn(2, seed=2)
    nodes = [
        N("Reshape", ["x", "shape"], ["g"]),
        N("InstanceNormalization", ["g", "scale", "shift"], ["y"], epsilon=EPSILON),
    ]
    graph = graph_of(nodes, {"shape": np.array([2, 2, -1]), "scale": scale, "shift": shift}, "x")
    found = of_groups(graph, IMAGE)
    rows = IMAGE.reshape(2, 2, 24)

    def scaled(y: Array) -> Array:
        return y.reshape(2, 2, 24) * scale[:, None] + shift[:, None]

    channel = rows.reshape(2, 2, 4, 6)
    every = rows.reshape(2, 4, 2, 6)  # a group takes every second channel
    expected = {
        "number of groups 4 for 2": scaled(normalized(rows.reshape(2, 2, 2, 12), (3,))),
        "number of groups 8 for 2": scaled(normalized(channel, (3,))),
        "each channel normalized over the batch, not each group (batch normalization)": scaled(
            normalized(channel, (0, 3))
        ),
        "channels grouped in another order": (
            normalized(every, (1, 3)) * scale.reshape(1, 2, 1) + shift.reshape(1, 2, 1)
        ).reshape(2, 2, 24),
    }
    for name, values in expected.items():
        check_inside(found[name][1], values, name)


def test_groups_that_share_a_scale():
    """Before opset 21 there is one for each group of the right kind: it stays with its channels."""
    x, scale, shift = drawn(2, 6, 3, seed=6), drawn(2, seed=1), drawn(2, seed=2)
    one = Layer("GroupNormalization", x, scale, shift, num_groups=2, epsilon=EPSILON, opset=18)
    wide, low = (a.repeat(3)[:, None].astype(np.float64) for a in (scale, shift))
    every = normalized(x.reshape(2, 3, 2, 3), (1, 3)).reshape(x.shape)
    one.returns("channels grouped in another order", every * wide + low)
    right = normalized(x.reshape(2, 2, 9), (2,)).reshape(x.shape)
    one.returns("", right * wide + low)
