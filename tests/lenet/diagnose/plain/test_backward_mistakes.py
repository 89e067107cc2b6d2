"""Each mistake of the backward pass by itself: plain NumPy computes the wrong gradient of a layer."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose.mistakes import gates, gradients, reduction, winners
from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.precision import FORMATS
from lenet.diagnose.mistakes.wrong_backward import (
    PARTS,
    BackCall,
    LossCall,
    right_loss,
)
from lenet.network.architecture import LAYERS
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT64, gamma
from parity.judging.causes.of_rounding.shortened import name_of
from tests.lenet.diagnose.plain.backward import back, cross_entropy, unfolded, windows
from tests.lenet.diagnose.plain.network import PADDING, Array, drawn, input_of, own, right, wide
from tests.lenet.diagnose.plain.words import check_kinds
from tests.parity.operators.one_node import check_inside

Wrong = Callable[[str, Array, Array, Array], Array]  # of a layer, its input, its weights and the cotangent
MISTAKES = [*gradients.FAMILY.mistakes, *gates.FAMILY.mistakes, *winners.FAMILY.mistakes]
ROUNDED = {name_of(form): form for form in FORMATS}
WHICH = {"input": 0, "weight": 1, "bias": 2}


def part(which: str, change: Callable[[Array], Array] = lambda g: g) -> Wrong:
    """A part of the right gradient, changed."""
    return lambda name, x, w, d: change(back(name, x, w, d)[WHICH[which]])


def kernel(change: Callable[[Array], Array]) -> Wrong:
    return lambda name, x, w, d: back(name, x, change(w), d)[0]


def overwritten(last: bool) -> Wrong:
    """Each pixel keeps the contribution of the last place of the kernel that reaches it, or of the first."""

    def wrong(name: str, x: Array, w: Array, d: Array) -> Array:
        p, k = PADDING[name], w.shape[-1]
        full = np.zeros((len(x), x.shape[1], x.shape[2] + 2 * p, x.shape[3] + 2 * p))
        places = [(i, j) for i in range(k) for j in range(k)]
        for row, column in np.ndindex(full.shape[2:]):
            reaching = [
                (i, j) for i, j in places if 0 <= row - i < d.shape[2] and 0 <= column - j < d.shape[3]
            ]
            if reaching:
                i, j = reaching[-1 if last else 0]
                full[:, :, row, column] = d[:, :, row - i, column - j] @ w[:, :, i, j]
        return full[:, :, p : full.shape[2] - p, p : full.shape[3] - p]

    return wrong


def digits(which: slice, of: str) -> Wrong:
    return lambda name, x, w, d: back(name, x[which], w, d[which])[WHICH[of]]


def gate(slope: Callable[[Array], Array]) -> Wrong:
    return lambda name, x, w, d: d * slope(x)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def shared(shares: Callable[[Array], Array], near: bool = False) -> Wrong:
    """Shares of the places of a window, told by which of them hold its maximum."""

    def wrong(name: str, x: Array, w: Array, d: Array) -> Array:
        some = windows(x)
        top = some.max(-1, keepdims=True)
        wins = np.isclose(some, top) if near else some == top
        return unfolded(shares(wins.astype(float)) * d[..., None])

    return wrong


def first(order: list[int]) -> Callable[[Array], Array]:
    def shares(wins: Array) -> Array:
        found = np.zeros(wins.shape)
        for place in order:
            found[..., place] = wins[..., place] * (found.sum(-1) == 0)
        return found

    return shares


def alike(wins: Array) -> Array:
    return wins / wins.sum(-1, keepdims=True)


def pairs(one: tuple[int, int], two: tuple[int, int]) -> Callable[[Array], Array]:
    """Both pairs share, if both hold a winner, and each shares among its winners."""

    def shares(wins: Array) -> Array:
        found = np.zeros(wins.shape)
        holding = [wins[..., list(pair)].any(-1) for pair in (one, two)]
        for pair, holds in zip((one, two), holding, strict=True):
            count = wins[..., list(pair)].sum(-1)
            for place in pair:
                found[..., place] = np.where(
                    holds, wins[..., place] / np.maximum(count, 1) / np.sum(holding, 0), 0
                )
        return found

    return shares


def in_turn(wins: Array) -> Array:
    """The maximum so far and the next value share."""
    found = np.zeros(wins.shape)
    found[..., 0] = wins[..., 0]
    for place in (1, 2, 3):
        before, now = found.any(-1), wins[..., place] > 0
        found *= np.where(before & now, 0.5, 1)[..., None]
        found[..., place] = np.where(now, np.where(before, 0.5, 1), 0)
    return found


WRONG: dict[str, Wrong] = {
    "kernel not turned in the input gradient": kernel(lambda w: w[:, :, ::-1, ::-1]),
    "kernel transposed in the input gradient": kernel(lambda w: w.swapaxes(2, 3)),
    "input channels reversed in the input gradient": part("input", lambda g: g[:, ::-1]),
    "kernel flipped upside down in the input gradient": kernel(lambda w: w[:, :, ::-1]),
    "kernel flipped left to right in the input gradient": kernel(lambda w: w[..., ::-1]),
    "col2im keeps the last overlap": overwritten(True),
    "col2im keeps the first overlap": overwritten(False),
    "only the first output map in the input gradient": lambda name, x, w, d: back(name, x, w[:1], d[:, :1])[
        0
    ],
    "weight gradient flipped": part("weight", lambda g: g[:, :, ::-1, ::-1]),
    "weight gradient with height and width swapped": part("weight", lambda g: g.swapaxes(2, 3)),
    "weight gradient in HWIO": part("weight", lambda g: g.transpose(2, 3, 1, 0)),
    "weight gradient reshaped from HWIO": part("weight", lambda g: g.transpose(2, 3, 1, 0).reshape(g.shape)),
    "weight gradient transposed": part("weight", lambda g: g.T),
    "weight gradient reshaped, not transposed": part("weight", lambda g: g.T.reshape(g.shape)),
    "output order of the weight gradient reversed": part("weight", lambda g: g[::-1]),
    "gradient of the first digit alone": digits(slice(1), "weight"),
    "gradient of the last digit alone": digits(slice(-1, None), "weight"),
    "gradient doubled": part("weight", lambda g: 2 * g),
    "gradient halved": part("weight", lambda g: g / 2),
    "gradient negated": part("weight", lambda g: -g),
    "gradient times the batch size": part("weight", lambda g: 3 * g),
    "gradient divided by the batch size once more": part("weight", lambda g: g / 3),
    "bias gradient not summed over positions": lambda name, x, w, d: d.sum(0),
    "bias gradient of one position": lambda name, x, w, d: d[:, :, 0, 0].sum(0),
    "bias gradient averaged over positions": lambda name, x, w, d: d.sum(0).mean((1, 2)),
    "bias gradient summed over rows only": lambda name, x, w, d: d[..., 0].sum((0, 2)),
    "ReLU's gate missing in the backward pass": gate(lambda x: np.ones(x.shape)),
    "ReLU applied to the cotangent": lambda name, x, w, d: relu(d),
    "ReLU's gate open at zero": gate(lambda x: x >= 0),
    "ReLU's gate half open at zero": gate(lambda x: (x > 0) + 0.5 * (x == 0)),
    "guided backpropagation": lambda name, x, w, d: relu(d) * (x > 0),
    "ReLU6's gate in the backward pass": gate(lambda x: (x > 0) & (x < 6)),
    "sigmoid's derivative in ReLU's place": gate(lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "sigmoid's derivative of the output in ReLU's place": gate(lambda x: relu(x) * (1 - relu(x))),
    "tanh's derivative in ReLU's place": gate(lambda x: 1 / np.cosh(x) ** 2),
    "tanh's derivative of the output in ReLU's place": gate(lambda x: 1 - relu(x) ** 2),
    "ReLU's gate turned round": gate(lambda x: x <= 0),
    "leaky ReLU's gradient, slope 0.01": gate(lambda x: np.where(x > 0, 1, 0.01)),
    "leaky ReLU's gradient, slope 0.1": gate(lambda x: np.where(x > 0, 1, 0.1)),
    "leaky ReLU's gradient, slope 0.2": gate(lambda x: np.where(x > 0, 1, 0.2)),
    "bias gradient missing": part("bias", lambda g: 0 * g),
    "weight gradient missing": part("weight", lambda g: 0 * g),
    "ties split among winners": shared(alike),
    "ties split in pairs, columns first": shared(pairs((0, 1), (2, 3))),
    "ties split in pairs, rows first": shared(pairs((0, 2), (1, 3))),
    "ties split one after the other": shared(in_turn),
    "ties won by the last": shared(first([3, 2, 1, 0])),
    "ties won by the first in column order": shared(first([0, 2, 1, 3])),
    "ties won by the last in column order": shared(first([3, 1, 2, 0])),
    "ties rewarded to all winners": shared(lambda wins: wins),
    "nearly equal values rewarded as ties": shared(lambda wins: wins, near=True),
    "nearly equal values share as ties": shared(alike, near=True),
    "pooling gradient to the whole window": shared(np.ones_like),
    "pooling gradient spread as an average": shared(lambda wins: np.full(wins.shape, 0.25)),
}
for _name in ("conv1", "conv2", "fc1", "fc2", "logits"):
    WRONG[f"{_name} frozen"] = part("weight", lambda g: 0 * g)
    if _name != "conv1":
        WRONG[f"detached before {_name}"] = part("input", lambda g: 0 * g)


def called(name: str, dtype: str = "float64") -> BackCall:
    """A layer's arguments: its input has exact zeros and ties."""
    x = np.round(4 * input_of(name, 3, 3)) / 4 + (8 * (input_of(name, 4, 3) > 2) if "relu" in name else 0)
    if name.startswith("pool"):
        x += 1e-7 * np.random.default_rng(5).integers(0, 2, x.shape)  # which np.isclose does not see
    params = wide(drawn(5))
    w, b = own(name, params)
    d = np.random.default_rng(6).standard_normal(right(name, x, w, b).shape)
    layer = next(layer for layer in LAYERS if layer.name == name)
    images = np.zeros((3, 1, 28, 28))
    return BackCall(layer, Bounded(x), Bounded(d), w, images, dtype, params)


def of_mistake(mistake: Mistake, key: str, call: BackCall) -> Bounded:
    return mistake.changes[key](PARTS[key.rpartition(".")[2]])(call)


def test_every_mistake_of_the_backward_pass_has_a_formula():
    names = {one.kind.name for one in MISTAKES if "from operands" not in one.kind.name}
    assert names == WRONG.keys()
    check_kinds(*(one.kind for one in (*MISTAKES, *reduction.FAMILY.mistakes)))


def keys_of(mistake: Mistake) -> list[str]:
    """The stages that are small enough: pool2 is pool1 again."""
    return [key for key in mistake.stages if key.partition(".")[0] not in ("pool2", "relu2")]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_that_of_plain_numpy(name):
    seen: set[str] = set()
    for mistake in (one for one in MISTAKES if one.kind.name == name):
        for key in set(keys_of(mistake)) - seen:
            seen.add(key)
            layer, _, which = key.rpartition(".")
            call = called(layer)
            x, d = call.x.value, call.d.value
            wrong = WRONG[name]
            if which == "bias" and name.startswith("gradient"):  # the same as of the weights, for a bias
                scale = {"doubled": 2, "halved": 0.5, "negated": -1, "times": 3, "divided": 1 / 3}
                factor = next((f for word, f in scale.items() if word in name), 1)
                some = slice(1) if "first" in name else slice(-1, None) if "last" in name else slice(None)
                expected = factor * back(layer, x[some], call.w, d[some])[2]
            elif which == "bias" and "frozen" in name:
                expected = 0 * back(layer, x, call.w, d)[2]
            else:
                expected = wrong(layer, x, call.w, d)
            found = of_mistake(mistake, key, call)
            check_inside(found, expected, key)
            # At most 400 products are added up (16 maps of 5 × 5 places), and times 3 by a batch size.
            size = 400 * np.abs(d).max() * max(1, np.abs(x).max(), np.abs(call.w).max(initial=0))
            assert found.bound.max() <= 3 * gamma(400 + 8, FLOAT64.u) * size, key
    assert seen


@pytest.mark.parametrize(
    "name", sorted({one.kind.name for one in MISTAKES if "from operands" in one.kind.name})
)
def test_weight_gradients_from_rounded_operands(name):
    form = ROUNDED[name.removeprefix("weight gradient from operands in ")]
    mistake = next(one for one in MISTAKES if one.kind.name == name and "fc2.weight" in one.changes)
    call = called("fc2")
    x, d = (form.round(a.value).astype(np.float64) for a in (call.x, call.d))
    check_inside(of_mistake(mistake, "fc2.weight", call), back("fc2", x, call.w, d)[1], name)


def test_mistakes_of_all_layers_are_made_in_all_of_them():
    sets = {one.stages for one in MISTAKES if one.kind.name == "gradient doubled"}
    names = ("logits", "fc2", "fc1", "conv2", "conv1")
    assert tuple(f"{n}.weight" for n in names) + tuple(f"{n}.bias" for n in names) in sets
    assert ("conv2.weight", "conv2.bias") in sets
    assert ("fc2.bias",) in sets
    negated = {one.stages for one in MISTAKES if one.kind.name == "gradient negated"}
    assert sets - negated == {tuple(f"{n}.weight" for n in names) + tuple(f"{n}.bias" for n in names)}


@pytest.mark.parametrize("name", [name for name in WRONG if not name.startswith(("nearly", "ties", "tanh"))])
def test_errors_of_the_cotangent_are_carried(name):
    mistake = next(one for one in MISTAKES if one.kind.name == name and keys_of(one))
    key = next(key for key in keys_of(mistake) if not (key.endswith("bias") and name.startswith("gradient")))
    layer = key.rpartition(".")[0]
    call = called(layer)
    rng, d = np.random.default_rng(0), call.d.value
    found = of_mistake(mistake, key, replace(call, d=Bounded(d, np.full(d.shape, 1e-3))))
    largest = 0.0
    for _ in range(12):
        moved = WRONG[name](layer, call.x.value, call.w, d + 1e-3 * rng.choice([-1, 1], d.shape))
        off = np.abs(moved - found.value)
        own_rounding = 8 * FLOAT64.u * (np.abs(moved) + np.abs(found.value))  # of the test
        assert (off <= found.bound + own_rounding).all()
        largest = max(largest, float(np.divide(off, found.bound, where=found.bound > 0, out=0 * off).max()))
    assert largest > 0.1 or not found.value.any()  # errors of random signs cancel for the most part


def test_the_cotangent_is_unknown_where_rounding_decides_a_gate():
    call = called("relu4")
    call = replace(call, x=Bounded(call.x.value, np.full(call.x.shape, 0.3)))
    open_ = np.abs(call.x.value) <= 0.3
    mistake = next(one for one in MISTAKES if one.kind.name == "ReLU's gate turned round")
    found = of_mistake(mistake, "relu4.input", call)
    assert (found.bound[open_] >= np.abs(call.d.value[open_])).all()
    assert (found.bound[~open_] < 1e-9).all()
    at_zero = next(one for one in MISTAKES if one.kind.name == "ReLU's gate open at zero")
    found = of_mistake(at_zero, "relu4.input", call)
    undecided = (call.x.value < 0) & (call.x.value > -0.3)
    assert (found.bound[undecided] >= np.abs(call.d.value[undecided])).all()


AVERAGES: dict[str, tuple[float, float]] = {  # of five digits: factors of the loss and of its cotangent
    "loss summed over the batch": (5, 5),
    "loss divided by the batch size twice": (0.2, 0.2),
    "gradients summed over the batch": (1, 5),
    "gradients divided by the batch size twice": (1, 0.2),
    "loss reported as a sum": (5, 1),
    "loss reported divided twice": (0.2, 1),
    "loss averaged over the classes": (0.1, 0.1),
    "loss in bits": (np.log2(np.e), np.log2(np.e)),
    "loss reported in bits": (np.log2(np.e), 1),
    "loss in decimal logarithms": (np.log10(np.e), 1),
    "loss negated": (-1, -1),
    "gradients negated": (1, -1),
    "loss doubled": (2, 2),
    "loss halved": (0.5, 0.5),
}
LABELS = np.array([3, 9, 0, 4, 4])
OTHER_LABELS = {
    "labels too large by one": [4, 0, 1, 5, 5],
    "labels too small by one": [2, 8, 9, 3, 3],
    "labels of the neighbour": [4, 3, 9, 0, 4],
    "labels of the next digit": [9, 0, 4, 4, 3],
    "labels in reverse order": [4, 4, 0, 9, 3],
    "first label for the whole batch": [3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("mistake", reduction.FAMILY.mistakes, ids=lambda one: one.kind.name)
def test_another_average_or_other_labels_give_what_plain_numpy_computes(mistake):
    z = 3 * np.random.default_rng(0).standard_normal((5, 10))
    name = mistake.kind.name
    value, d = cross_entropy(z, np.array(OTHER_LABELS.get(name, LABELS)))
    factors = AVERAGES.get(name, (1, 1))
    for dtype, u in (("float64", FLOAT64.u), ("float32", 2.0**-24)):
        found = mistake.changes["loss"](right_loss)(LossCall(Bounded(z), LABELS, dtype))
        check_inside(found.value, np.asarray(factors[0] * value), name)
        check_inside(found.d, factors[1] * d, name)
        known = right_loss(LossCall(Bounded(z), np.array(OTHER_LABELS.get(name, LABELS)), dtype))
        for one, before, factor in ((found.value, known.value, factors[0]), (found.d, known.d, factors[1])):
            most = abs(factor) * (before.bound + gamma(4, u) * (np.abs(before.value) + before.bound))
            assert (one.bound <= most).all()
            assert (one.bound >= abs(factor) * before.bound * (1 - 1e-9)).all()
