"""Mistakes of moving, choosing and rounding values, each as plain NumPy makes it."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic.floats import BFLOAT16
from parity.judging.causes.of_places import of_dropout, of_layout, of_pieces
from parity.operators.elementwise import Identity
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.small_graphs import N, graph_of
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

X = drawn(2, 3, 4, 5)

# --- flattening, transposing, reshaping --------------------------------------------------------


def reread(order: tuple[int, ...]) -> Array:
    """The values taken for maps in this order of axes, and put in the right one."""
    found = np.empty_like(X)
    for item in range(2):
        there = X[item].reshape([X.shape[1 + k] for k in order])
        for place in np.ndindex(*there.shape):
            right = [0, 0, 0]
            for k, n in zip(order, place, strict=True):
                right[k] = n
            found[(item, *right)] = there[place]
    return found


def test_maps_that_are_flattened():
    one = Layer("Flatten", X)
    for order in set(permutations(range(3))) - {(0, 1, 2)}:
        words = ", ".join("CHW"[k] for k in order)
        one.returns(f"flattened in {words} order", X.transpose(0, *(k + 1 for k in order)).reshape(2, 60))
        one.returns(f"maps read as {words} before flattening", reread(order).reshape(2, 60))
    one.returns("flattened in column-major (Fortran) order", X.T.ravel().reshape(60, 2).T)
    one.returns("flattened over the batch axis", X.transpose(1, 2, 3, 0).reshape(2, 60))
    assert len(one.mistakes) == 12
    square = Layer("Flatten", X[..., :4])
    assert "maps read as C, W, H before flattening" not in square.mistakes  # flattened in that order
    assert not Layer("Flatten", X[:, :, :1, :1]).mistakes.keys() & {"flattened in H, C, W order"}
    assert "flattened over the batch axis" not in Layer("Flatten", X, axis=2).mistakes


def test_a_row_that_becomes_maps():
    row, shape = X.reshape(2, 60), np.array([2, 3, 4, 5])
    one = Layer("Reshape", row, shape)
    for order in set(permutations(range(3))) - {(0, 1, 2)}:
        words = ", ".join("CHW"[k] for k in order)
        one.returns(f"row reshaped in {words} order", reread(order))
    one.returns("reshaped to [2, 4, 3, 5] for [2, 3, 4, 5]", X.reshape(2, 4, 3, 5))
    one.returns("reshaped to [5, 3, 4, 2] for [2, 3, 4, 5]", X.reshape(5, 3, 4, 2))
    few = Layer("Reshape", row, np.array([2, 5, 12]))
    few.returns("row reshaped in 2, 1 order", row.reshape(2, 12, 5).swapaxes(1, 2))


def test_other_axes_of_a_transpose():
    one = Layer("Transpose", X, perm=[0, 2, 3, 1])
    for order in set(permutations(range(4))) - {(0, 2, 3, 1)}:
        one.returns(f"axes permuted by {order} for (0, 2, 3, 1)", X.transpose(order))
    one.returns("reshaped, not permuted by (0, 2, 3, 1)", X.reshape(2, 4, 5, 3))
    Layer("Transpose", X).returns("axes permuted by (0, 1, 2, 3) for (3, 2, 1, 0)", X)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_that_become_pixels(mode):
    x = drawn(2, 8, 3, 4)
    other = {"DCR": "CRD", "CRD": "DCR"}[mode]
    order = (0, 3, 4, 1, 5, 2) if other == "DCR" else (0, 1, 4, 2, 5, 3)
    expected = x.reshape(2, 2, 2, 2, 3, 4).transpose(order).reshape(2, 2, 6, 8)
    name = f"order of the channels {other} for {mode} (depth_to_space for pixel_shuffle)"
    Layer("DepthToSpace", x, blocksize=2, mode=mode).returns(name, expected)


def test_pieces_of_a_split():
    x = drawn(2, 6, 4)
    one = Layer("Split", x, axis=1, num_outputs=3, outputs=3)
    pieces = [x[:, :2], x[:, 2:4], x[:, 4:]]
    for order in set(permutations(range(3))) - {(0, 1, 2)}:
        for place, k in enumerate(order):
            one.returns(f"pieces of the split in the order {order}", pieces[k], place)
    for place in range(3):
        one.returns("pieces of the split interleaved", x[:, place::3], place)


def test_bounds_of_a_slice():
    x, axes, steps = drawn(3, 9), np.array([1]), np.array([2])
    one = Layer("Slice", x, np.array([2]), np.array([7]), axes, steps)
    for name, expected in {
        "": x[:, 2:7:2],
        "start and end of the slice one later": x[:, 3:8:2],
        "start and end of the slice one earlier": x[:, 1:6:2],
        "start of the slice one later": x[:, 3:7:2],
        "start of the slice one earlier": x[:, 1:7:2],
        "end of the slice one later": x[:, 2:8:2],
        "end of the slice one earlier": x[:, 2:6:2],
        "step of the slice in the other direction, or 1": x[:, 2:7],
    }.items():
        one.returns(name, expected)
    assert not Layer("Slice", np.arange(9), np.array([2]), np.array([7])).mistakes  # of a shape


# --- borders, indices, roundings ---------------------------------------------------------------


def test_another_border():
    x, widths = drawn(2, 3, 6, 7), np.array([0, 0, 1, 2, 0, 0, 3, 1])
    one = Layer("Pad", x, widths, np.array(0.5, np.float32))

    def padded(*sides: tuple[int, int], mode: str = "constant", **filled: Any) -> Array:
        return np.pad(x, ((0, 0), (0, 0), *sides), mode=mode, **filled)  # type: ignore[call-overload]

    half: dict[str, Any] = {"constant_values": 0.5}
    for name, expected in {
        "": padded((1, 3), (2, 1), **half),
        **{
            f"pad mode {mode} for constant": padded((1, 3), (2, 1), mode=mode)
            for mode in ("reflect", "edge", "wrap", "symmetric")
        },
        "padded on the other sides": padded((3, 1), (1, 2), **half),
        "padded at the end": padded((0, 4), (0, 3), **half),
        "padded at the beginning": padded((4, 0), (3, 0), **half),
        "widths of the last two axes exchanged": padded((2, 1), (1, 3), **half),
        "not padded": x,
        "padded with zeros, not with the constant": padded((1, 3), (2, 1)),
    }.items():
        one.returns(name, expected)
    sides = ((2, 1), (1, 3), (0, 0), (0, 0))
    one.returns("widths of the axes in reverse order", np.pad(x, sides, constant_values=0.5))


def test_another_index():
    x = drawn(3, 6, 5)
    one = Layer("Gather", x, np.array(-1), axis=1)
    for name, expected in {
        "": x[:, 5],
        "index 4 for -1": x[:, 4],
        **{f"index {k} for -1": x[:, k] for k in range(4)},
        "mean over axis 1 for index -1": x.mean(1),
        "maximum over axis 1 for index -1": x.max(1),
        "axis 0 for 1": x[-1],
        "axis 2 for 1": x[..., -1],
    }.items():
        one.returns(name, expected)
    assert len(one.mistakes) == 9
    kept = Layer("Gather", x, np.array([[2]]), axis=1)
    kept.returns("index 3 for 2", x[:, 3][:, None, None])
    several = Layer("Gather", x, np.array([1, 2]), axis=1)
    several.returns("index one too large (off by one)", x[:, [2, 3]])
    several.returns("index one too small (off by one)", x[:, [0, 1]])
    assert not Layer("Gather", np.arange(4), np.array(1)).mistakes  # of a shape


def test_another_rounding():
    x = np.array([-2.5, -1.7, -0.5, -0.2, 0.5, 1.2, 1.5, 2.5, 3.0], np.float32)
    one = Layer("Round", x)
    for name, expected in {
        "": [-2, -2, 0, 0, 0, 1, 2, 2, 3],
        "cut off towards zero, not by Round's rule": [-2, -1, 0, 0, 0, 1, 1, 2, 3],
        "rounded down, not by Round's rule": [-3, -2, -1, -1, 0, 1, 1, 2, 3],
        "rounded up, not by Round's rule": [-2, -1, 0, 0, 1, 2, 2, 3, 3],
        "rounded to nearest, not by Round's rule": [-2, -2, 0, 0, 0, 1, 2, 2, 3],
        "rounded half away from zero, not by Round's rule": [-3, -2, -1, 0, 1, 1, 2, 3, 3],
    }.items():
        one.returns(name, np.array(expected, float))


# --- what the values show ----------------------------------------------------------------------


class Stretch(Identity):
    """Of no node."""

    nodes = ()


def layouts(found: Array, right: Array) -> dict[str, Array]:
    """The layouts in which these are the right values, and what each makes of the right ones."""
    bounded = Bounded(right)
    some = {}
    for one in of_layout.layouts(Stretch(), found, bounded):
        result = one.operator.evaluate(bounded)
        assert isinstance(result, Bounded)
        assert one.wider
        check_said(one)
        some[one.name] = result.value
    return some


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("channels last (NHWC) for channels first: axes (0, 2, 3, 1)", X.transpose(0, 2, 3, 1)),
        ("channels first for channels last: axes (0, 3, 1, 2)", X.transpose(0, 3, 1, 2)),
        ("another order of the axes: axes (1, 0, 2, 3)", X.swapaxes(0, 1)),
        (
            "channels last (NHWC) for channels first, reshaped and not transposed: axes (0, 2, 3, 1)",
            X.transpose(0, 2, 3, 1).reshape(X.shape),
        ),
        ("another shape: shape [2, 60] for [2, 3, 4, 5]", X.reshape(2, 60)),
        ("an axis of length 1 added: shape [2, 1, 3, 4, 5] for [2, 3, 4, 5]", X[:, None]),
        ("batch dimension added: shape [1, 2, 3, 4, 5] for [2, 3, 4, 5]", X[None]),
        ("items of the batch exchanged", X[::-1]),
        ("channels in reverse order", X[:, ::-1]),
        ("positions of axis 2 shifted by 1", np.roll(X, -1, 2)),
        ("positions of axis 3 shifted by -2", np.roll(X, 2, 3)),
        ("positions of axis 2 in another order: 0, 2, 1, 3", X[:, :, [0, 2, 1, 3]]),
    ],
)
def test_right_values_in_another_layout(name, found):
    """The first that is said is this one; a transposed array has the order of a reshaped one, too."""
    some = layouts(found, X)
    first, *others = some
    assert first == name
    assert all("reshaped and not transposed" in other for other in others)
    for values in some.values():
        np.testing.assert_array_equal(values, found)


def test_layouts_of_smaller_arrays():
    x = drawn(4, 6)
    assert next(iter(layouts(x.T, x))) == "transposed: axes (1, 0)"
    assert list(layouts(x.T.reshape(4, 6), x)) == ["transposed, reshaped and not transposed: axes (1, 0)"]
    assert list(layouts(x, x[None])) == ["batch dimension missing: shape [4, 6] for [1, 4, 6]"]
    assert list(layouts(x, x[:, None])) == ["an axis of length 1 missing: shape [4, 6] for [4, 1, 6]"]
    wide = drawn(2, 9)
    order = [8, 3, 5, 0, 1, 2, 4, 6, 7]
    said = "channels in another order: 8, 3, 5, 0, 1, 2, 4, 6, …"
    assert list(layouts(wide[:, order], wide)) == [said]


def test_other_values_are_in_no_layout():
    assert layouts(X, X) == {}
    assert layouts(X + np.float32(1), X) == {}
    assert layouts(X[:1], X) == {}
    assert layouts(X[:, ::-1] * np.float32(1.01), X) == {}
    assert layouts(np.arange(4)[::-1], np.arange(4)) == {}
    assert layouts(np.ones(1, np.float32), np.zeros(1, np.float32)) == {}


def test_dropout_that_was_left_on():
    right = drawn(8, 16) + np.float32(3)
    kept = np.random.default_rng(0).random((8, 16)) >= 0.25
    found = (right * kept / np.float32(0.75)).astype(np.float32)
    (one,) = of_dropout.dropout(Identity(), found, Bounded(right))
    assert one.name == "dropout left on: p=0.25"
    assert one.remedy == "Call model.eval(), or pass training=False."
    check_said(one)
    said = "A share of 0.25 of the values is zero, and all others are divided by 0.75: training mode."
    assert one.explanation == said
    made = one.operator.evaluate(Bounded(right))
    assert isinstance(made, Bounded)
    check_inside(made, found)
    (short,) = of_dropout.dropout(Identity(), BFLOAT16.round(found), Bounded(right))
    assert short.name == "dropout left on: p=0.2498"  # 1 / 0.75 is rounded, too
    assert not list(of_dropout.dropout(Identity(), found.astype(int), Bounded(right)))
    for other in (
        right,  # nothing is zero
        0 * right,  # everything is
        (right * kept).astype(np.float32),  # the others are not larger
        (right * kept * np.float32(0.5)).astype(np.float32),
        (right * kept * np.float32(8)).astype(np.float32),  # so many zeros are of a smaller p
        found[:2, :8],
    ):
        assert not list(of_dropout.dropout(Identity(), other, Bounded(right[: len(other), : other.shape[1]])))


# --- the roles of pieces -----------------------------------------------------------------------

ATTENTION = [
    N("Split", ["x"], ["a", "b", "c"], axis=-1, num_outputs=3),
    N("Transpose", ["b"], ["bt"], perm=[0, 2, 1]),
    N("MatMul", ["a", "bt"], ["s"]),
    N("Mul", ["s", "half"], ["scaled"]),
    N("Softmax", ["scaled"], ["p"]),
    N("Identity", ["p"], ["q"]),
    N("MatMul", ["q", "c"], ["y"]),
]


def test_pieces_are_named_by_what_an_attention_makes_of_them():
    nodes = graph_of(ATTENTION, {"half": np.array(0.5, np.float32)}, "x").nodes
    assert [of_pieces.role(name, nodes) for name in "abc"] == ["Q", "K", "V"]
    assert of_pieces.role("half", nodes[4:]) == ""
    names = ["a", "b", "c"]
    for order, said in {
        (0, 2, 1): "K and V swapped",
        (1, 0, 2): "Q and K swapped",
        (2, 1, 0): "Q and V swapped",
        (1, 2, 0): "K, V, Q taken for Q, K, V",
        (2, 0, 1): "V, Q, K taken for Q, K, V",
    }.items():
        assert of_pieces.in_roles(names, order, nodes) == said
    assert of_pieces.in_roles(names[:2], (0, 2, 1), nodes) == ""
    assert of_pieces.in_roles(names, (0, 2, 1), nodes[:5]) == ""  # c is nothing yet
    fused = graph_of([N("Attention", ["c", "a", "b"], ["y"])], {}, "abc", opset=23).nodes
    assert [of_pieces.role(name, fused) for name in "abc"] == ["K", "V", "Q"]
    shape = graph_of([N("Shape", ["a"], ["y"])], {}, "a").nodes
    assert of_pieces.role("a", shape) == ""
    product = graph_of([N("MatMul", ["a", "b"], ["s"]), N("Relu", ["s"], ["y"])], {}, "ab").nodes
    assert [of_pieces.role(name, product) for name in "ab"] == ["", ""]


def test_more_than_four_pieces_are_exchanged_two_by_two():
    assert sorted(of_pieces._orders(3)) == sorted(permutations(range(3)))
    assert len(list(of_pieces._orders(4))) == 24
    found = list(of_pieces._orders(5))
    assert len(set(found)) == 10
    for order in found:
        assert sorted(order) == list(range(5))
        assert sum(k != place for place, k in enumerate(order)) == 2


def test_a_single_part_is_not_put_together():
    one = Layer("Gather", drawn(1, 4, 3), np.array(0), axis=0)
    assert not [name for name in one.mistakes if " over axis 0" in name]
    two = Layer("Gather", drawn(2, 4, 3), np.array(0), axis=0)
    assert len([name for name in two.mistakes if " over axis 0" in name]) == 2
