"""LSTM, GRU, RNN: values, bounds, and which implementations they admit."""

from math import exp, tanh
from typing import Any

import numpy as np
import pytest
import torch

from parity.errors import Unjudged
from parity.judging.verdict import Report
from parity.operators import functions
from parity.operators.recurrent import GRU, LSTM, RNN, Recurrent
from tests.parity.examples.example import Example
from tests.parity.examples.recurrent import EXAMPLES
from tests.parity.operators.one_node import check_within, in_onnxruntime, in_reference, outputs, report

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
RNG = np.random.default_rng


def _plain(example: Example) -> bool:
    """Whether ONNX's reference evaluator knows all that this use asks for: it passes over most attributes."""
    node, arrays = example.node, example.make(RNG(0))
    lengths = arrays[4] if len(arrays) > 4 else None
    ignored = ("clip", "activations", "input_forget")
    return lengths is None and not any(name in node for name in ignored)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if _plain(one)], ids=str)
def test_values_are_those_of_the_reference_evaluator(example: Example) -> None:
    arrays = example.make(RNG(1))
    wide = [None if one is None else one.astype(np.float64) for one in arrays]
    found = in_reference(example, wide)
    for one, expected in zip(found, outputs(example.operator, wide), strict=True):
        np.testing.assert_allclose(one, expected.value, rtol=1e-12, atol=1e-13)


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def _gru(x: np.ndarray, w: np.ndarray, r: np.ndarray, b: np.ndarray, before: bool) -> np.ndarray:
    """One direction by the equations of the standard: x (T, I), w (3H, I), r (3H, H), b (6H)."""
    size = r.shape[1]
    h, out = [0.0] * size, []
    for step in x.tolist():
        into = [sum(a * c for a, c in zip(row, step, strict=True)) for row in w.tolist()]
        again = [sum(a * c for a, c in zip(row, h, strict=True)) for row in r.tolist()]
        wb, rb = b[: 3 * size].tolist(), b[3 * size :].tolist()
        z = [_sigmoid(into[k] + again[k] + wb[k] + rb[k]) for k in range(size)]
        g = [_sigmoid(into[k] + again[k] + wb[k] + rb[k]) for k in range(size, 2 * size)]
        new = []
        for k in range(size):
            row = 2 * size + k
            if before:
                inner = g[k] * (again[row] + rb[row])
            else:
                inner = sum(a * s * c for a, s, c in zip(r.tolist()[row], g, h, strict=True)) + rb[row]
            new.append((1 - z[k]) * tanh(into[row] + inner + wb[row]) + z[k] * h[k])
        h = new
        out.append(h)
    return np.array(out)


@pytest.mark.parametrize("before", [False, True])
def test_gru_by_the_standard(before: bool) -> None:
    rng = RNG(5)
    x, w, r, b = (rng.standard_normal(shape) for shape in ((7, 3), (12, 3), (12, 4), (24,)))
    right = _gru(x, w, r, b, before)
    operator = GRU(linear_before_reset=int(before))
    y, last = outputs(operator, [x[:, None], w[None], r[None], b[None]])
    np.testing.assert_allclose(y.value[:, 0, 0], right, rtol=1e-12)
    np.testing.assert_allclose(last.value[0, 0], right[-1], rtol=1e-12)


def test_sequences_end_where_they_end() -> None:
    """A sequence in a batch, padded, is the same as it is alone."""
    rng = RNG(6)
    arrays = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((6, 2, 3), (2, 16, 3), (2, 16, 4), (2, 32))
    ]
    operator = LSTM(direction="bidirectional")
    padded = outputs(operator, [*arrays, np.array([6, 4], np.int32)])
    alone = outputs(operator, [arrays[0][:4, 1:], *arrays[1:]])
    np.testing.assert_allclose(padded[0].value[:4, :, 1:], alone[0].value, rtol=1e-13)
    assert not padded[0].value[4:, :, 1].any()
    for one, other in zip(padded[1:], alone[1:], strict=True):
        np.testing.assert_allclose(one.value[:, 1:], other.value, rtol=1e-13)


# PyTorch's order of gates, in ONNX's.
ORDERS = {RNN: [0], GRU: [1, 0, 2], LSTM: [0, 3, 1, 2]}
KINDS = {RNN: torch.nn.RNN, GRU: torch.nn.GRU, LSTM: torch.nn.LSTM}


def _from_pytorch(
    kind: type[Recurrent], steps: int, hidden: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """ONNX inputs that mean the same as a bidirectional PyTorch layer, and what the layer returns."""
    torch.manual_seed(0)
    module = KINDS[kind](hidden // 2, hidden, bidirectional=True)
    x = torch.randn(steps, 2, hidden // 2)
    with torch.no_grad():
        y, last = module(x)
    order = ORDERS[kind]

    def gates(name: str) -> np.ndarray:
        parts = [getattr(module, name + end).detach().numpy() for end in ("", "_reverse")]
        split = [part.reshape(len(order), hidden, -1)[order].reshape(part.shape) for part in parts]
        return np.stack(split)

    bias = np.concatenate([gates("bias_ih_l0"), gates("bias_hh_l0")], 1)
    found = y.numpy().reshape(steps, 2, 2, hidden).transpose(0, 2, 1, 3)
    ends = [one.numpy() for one in (last if isinstance(last, tuple) else (last,))]
    return [x.numpy(), gates("weight_ih_l0"), gates("weight_hh_l0"), bias], [found, *ends]


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_pytorch_is_within_the_bound(kind: type[Recurrent]) -> None:
    arrays, found = _from_pytorch(kind, 12, 20)
    extra: dict[str, Any] = {"linear_before_reset": 1} if kind is GRU else {}
    for one, expected in zip(found, outputs(kind(direction="bidirectional", **extra), arrays), strict=True):
        check_within(one, expected)


def _judged(kind: type[Recurrent], node: dict, arrays: list[np.ndarray], found: list[np.ndarray]) -> Report:
    node = {"direction": "bidirectional", "hidden_size": found[0].shape[-1], **node}
    return report(Example(kind(), node, lambda rng: []), arrays, found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_a_long_sequence_is_judged_step_by_step(kind: type[Recurrent]) -> None:
    """With Y recorded the bound of 100 steps is that of one; without, it has outgrown the values."""
    arrays, found = _from_pytorch(kind, 100, 32)
    extra = {"linear_before_reset": 1} if kind is GRU else {}
    judged = _judged(kind, extra, arrays, found)
    assert [one.verdict for one in judged.tensors] == ["rounding"] * len(found)
    assert all(one.proven for one in judged.tensors)
    assert max(one.blind_below for one in judged.tensors) < 1e-4


@pytest.mark.slow
def test_reset_after_for_before_is_different() -> None:
    arrays, found = _from_pytorch(GRU, 60, 32)
    assert _judged(GRU, {"linear_before_reset": 1}, arrays, found).verdict == "rounding"
    judged = _judged(GRU, {"linear_before_reset": 0}, arrays, found)
    assert judged.first is not None
    assert judged.first.tensor == "y0"
    assert judged.first.verdict == "different"


@pytest.mark.slow
def test_one_wrong_step_is_found_in_a_long_sequence() -> None:
    arrays, found = _from_pytorch(LSTM, 50, 32)
    found[0][30, 0, 1, 7] += 1e-4
    judged = _judged(LSTM, {}, arrays, found)
    assert judged.first is not None
    assert judged.first.worst is not None
    assert judged.first.worst.index == (30, 0, 1, 7)


@pytest.mark.slow
def test_a_bound_that_overflows_says_nothing() -> None:
    """Without a record of Y the bound grows beyond float64's numbers; it must not become NaN."""
    rng = RNG(7)
    shapes = ((3000, 1, 4), (1, 24, 4), (1, 24, 8))
    arrays = [(2 * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]
    y, last = outputs(GRU(), arrays)
    assert not np.isnan(y.bound).any()
    assert np.isinf(last.bound).any()


def test_functions_are_as_accurate_as_stated() -> None:
    x = np.concatenate([np.linspace(-100, 100, 200_001), np.logspace(-20, 0, 10_001)]).astype(np.float32)
    ones = np.ones((1, 1, 1), np.float32)
    zeros = np.zeros((1, 1, 1), np.float32)
    for name, function in (("Sigmoid", functions.SIGMOID), ("Tanh", functions.TANH_OF_RNN)):
        use = Example(RNN(activations=(name,)), {"activations": [name], "hidden_size": 1}, lambda rng: [])
        (found,) = in_onnxruntime(use, [x[None, :, None], ones, zeros], 1)
        right = function.f(x.astype(np.float64))
        allowed = 2.0**-24 * (2 * function.ulps * np.abs(right) + function.floor)
        assert (np.abs(found.ravel() - right) <= allowed + 2.0**-149).all(), name
        if name == "Tanh":  # which the kernel of the activation does not need
            assert (np.abs(found.ravel() - right) > allowed - 2.0**-24 * function.floor).any()
        method = torch.sigmoid if name == "Sigmoid" else torch.tanh
        assert (np.abs(method(torch.from_numpy(x)).numpy() - right) <= allowed + 2.0**-149).all(), name


def test_what_is_not_covered_is_said() -> None:
    arrays = EXAMPLES[0].make(RNG(0))
    for operator, reason in (
        (RNN(activations=("ThresholdedRelu",)), "ThresholdedRelu"),
        (RNN(activations=("Affine",)), "without its parameters"),
        (RNN(direction="sideways"), "sideways"),
    ):
        with pytest.raises(Unjudged, match=reason):
            outputs(operator, arrays)
    with pytest.raises(Unjudged, match="recorded"):
        RNN.read({"recorded": 1}, 22)
