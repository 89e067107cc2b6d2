"""Two mistakes at once: which pairs are tried, in which order, and when none are."""

from collections.abc import Mapping
from time import thread_time

import numpy as np
import pytest
from onnx import helper

from parity.arithmetic import Number
from parity.graph import Graph
from parity.judging.causes import judge
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock
from parity.judging.causes.search.stretch import Stretch
from tests.parity.judging.causes.searched import conv, graph_of_x
from tests.parity.judging.causes.small_graphs import drawn
from tests.parity.judging.chains import ONE, Array, run

X = drawn(2, 4, 6, 6)
W1, W2 = drawn(4, 4, 3, 3, seed=1), drawn(4, 4, 3, 3, seed=2)
W3 = drawn(144, 7, seed=3)


def two_convolutions() -> Graph:
    """x → Conv → a → Relu → b → Conv (the same shape) → c → Relu → r → Flatten → d → MatMul → y."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["y"]),
    ]
    return graph_of_x(nodes, {"w1": W1, "w2": W2, "w3": W3}, X, "y")


def other_weights_and_channels_last() -> dict[str, Array]:
    """The second layer has the first one's weights, and what it returns is flattened in H, W, C order."""
    b = np.maximum(conv(X, W1, 1, 1, 1), 0)
    r = np.maximum(conv(b, W1, 1, 1, 1), 0)
    return {"x": X, "y": r.transpose(0, 2, 3, 1).reshape(2, -1) @ W3}


@pytest.mark.slow
def test_parameters_of_another_layer_and_the_order_of_flattening_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parity.judging.causes.search.explaining.EQUALS", 0.0)
    (one,) = judge(two_convolutions(), other_weights_and_channels_last()).tensors
    assert [(cause.node, cause.name) for cause in one.causes] == [
        ("c", "parameters of a for those of c, and in d: flattened in H, W, C order")
    ]


@pytest.mark.slow
def test_likely_pairs_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few looks suffice where there are tens of thousands of pairs."""
    looks: list[bool] = []
    look_at = Look.is_near

    def counted(self: Look, stretch: Stretch, start: int, known: Mapping[str, Number] | None = None) -> bool:
        near = look_at(self, stretch, start, known)
        if known is not None:
            looks.append(near)
        return near

    monkeypatch.setattr(Look, "is_near", counted)
    monkeypatch.setattr("parity.judging.causes.search.explaining.EQUALS", 0.0)
    b = np.maximum(conv(X, W1, 1, 1, 1), 0)
    c = conv(b, W1, 1, 1, 1)
    y = np.where(c > 0, c, 0.1 * c).reshape(2, -1) @ W3
    (one,) = judge(two_convolutions(), {"x": X, "y": y}).tensors
    assert [cause.name for cause in one.causes] == [
        "parameters of a for those of c, and in r: leaky ReLU (0.1) for ReLU"
    ]
    assert looks.index(True) < 100


def test_no_pair_is_tried_where_all_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("pairs are tried")

    monkeypatch.setattr("parity.judging.causes.search.pairs._runs", never)
    y = np.full_like(run(ONE)["y0"], 3)
    (one,) = judge(ONE, {"x": run(ONE)["x"], "y0": y}).tensors
    assert one.causes == ()
    assert one.clues == ("every value is 3",)


def work(seconds: float) -> None:
    end = thread_time() + seconds
    while thread_time() < end:
        pass


def test_the_clock_counts_the_time_of_its_own_thread() -> None:
    clock = Clock(thread_time() + 0.05, 0.0)
    assert not clock.is_out()
    assert not clock.half().is_out()
    work(0.06)
    assert clock.is_out()
    later = Clock(thread_time() + 60, 0.0)
    assert not later.is_out()  # it is sure of this for a minute
    later.shorten(0.02)
    assert not later.is_out()
    work(0.03)
    assert later.is_out()
    assert Clock(thread_time() + 60, 61.0).is_out()
