"""What the judge samples, holds in memory, could have missed, and reports."""

import gc
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from parity.arithmetic import Looped
from parity.arithmetic.floats import TF32
from parity.graph import Declared, Graph, Node
from parity.judging.verdict import TensorReport
from parity.judging.walk import _Walk, judge
from parity.operators.affine import Gemm, MatMul
from parity.operators.normalization import LayerNormalization
from tests.parity.judging.chains import ONE, Array, Arrays, chain, cut, run

# --- samples -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_sample_finds_the_share_of_wrong_values_that_it_states() -> None:
    """Found with 99.9 %: of 250 samples three miss all wrong values once in 460 such tests."""
    size, sample, missed = 10_000, 100, 0
    graph = replace(ONE, inputs={"x": Declared()}, constants={"w0": np.ones((1, size), np.float32)})
    right = np.full((1, size), 0.1, np.float32)
    share = judge(graph, {"x": right[:, :1], "y0": right}, sample=sample).missed_share
    assert share == pytest.approx(1 - 0.001 ** (1 / sample))
    wrong = right.copy()
    places = np.random.default_rng(0).choice(size, round(share * size), replace=False)
    wrong[0, places] = 0.2
    for k in range(250):  # the name seeds the sample
        node = Node("n", "MatMul", MatMul(), ("x", "w0"), (f"y{k}",))
        one = replace(graph, nodes=(node,), outputs=(f"y{k}",))
        report = judge(one, {"x": right[:, :1], f"y{k}": wrong}, sample=sample)
        missed += report.verdict != "different"
    assert missed <= 2


def test_sample_gives_the_verdicts_of_the_whole() -> None:
    graph = chain(3, 256)
    values = run(graph, 64)
    assert all(one.values == 500 for one in judge(graph, values, sample=500).tensors)
    assert judge(graph, values, sample=500).verdict == "rounding"
    assert judge(graph, values, sample=10**6).tensors[0].values == 64 * 256
    report = judge(graph, cut(graph, values, TF32, 1), sample=500)
    assert report.first is not None
    assert report.first.tensor == "y1"
    (end,) = judge(graph, {"x": values["x"], "y2": values["y2"]}, sample=500).tensors
    assert (end.verdict, end.values) == ("rounding", 500)


def test_worst_of_a_sample_is_a_place_of_the_tensor() -> None:
    values = run(ONE)
    wrong = {**values, "y0": values["y0"] + np.float32(1)}
    (one,) = judge(ONE, wrong, sample=50).tensors
    assert one.worst is not None
    assert one.worst.found == wrong["y0"][one.worst.index]


# --- memory ------------------------------------------------------------------------------------


class Lazy(Mapping[str, Array]):
    """Tensors that are made when they are asked for; counts those that somebody still holds."""

    def __init__(self, values: Arrays) -> None:
        self.arrays, self.made, self.most = values, list[weakref.ref[Array]](), 0
        self.read: list[str] = []

    @property
    def alive(self) -> int:
        """How many of those given out are still there."""
        return sum(one() is not None for one in self.made)

    def __getitem__(self, name: str) -> Array:
        array = self.arrays[name].copy()
        self.made.append(weakref.ref(array))
        self.most = max(self.most, self.alive)
        self.read.append(name)
        return array

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def test_recorded_tensors_are_freed_when_nothing_needs_them() -> None:
    graph = chain(20, 16)
    values = Lazy(run(graph))
    assert judge(graph, values).same
    assert values.most <= 3, values.most
    assert sorted(values.read) == sorted(values)  # each once
    gc.collect()
    assert not values.alive


def test_computed_tensors_are_freed_when_nothing_needs_them() -> None:
    graph = chain(20, 16)
    values = run(graph)
    walk = _Walk(graph, {"x": values["x"], "y19": values["y19"]}, None)
    for node in graph.nodes:
        walk.visit(node)
        assert len(walk.states) <= 1
    assert not walk.states


def test_what_leads_to_nothing_recorded_is_not_computed() -> None:
    graph = chain(5)
    values = run(graph)
    walk = _Walk(graph, {"x": values["x"], "y1": values["y1"]}, None)
    assert [len(walk.visit(node)) for node in graph.nodes] == [0, 1, 0, 0, 0]
    assert not walk.states


# --- what could have been missed ---------------------------------------------------------------


def with_weights_changed(graph: Graph, values: Arrays, change: float, tensor: str) -> TensorReport:
    """The verdict where all weights of one product are larger by this share."""
    changed = dict(values)
    changed[tensor] = (values[tensor].astype(np.float64) * (1 + change)).astype(np.float32)
    return next(one for one in judge(graph, changed).tensors if one.tensor == tensor)


@pytest.mark.parametrize("n", [9, 64, 1000])
@pytest.mark.parametrize("sign", [-1, 1])
def test_blind_below_is_seen_and_a_tenth_of_it_is_not(n: int, sign: int) -> None:
    """The change comes on top of the candidate's own rounding, which may hide a part of it."""
    graph = chain(1, n)
    values = run(graph)
    (one,) = judge(graph, values).tensors
    assert one.verdict == "rounding"
    assert with_weights_changed(graph, values, sign * 1.3 * one.blind_below, "y0").verdict in (
        "coarse",
        "different",
    )
    assert with_weights_changed(graph, values, sign * 0.1 * one.blind_below, "y0").verdict == "rounding"


def test_blind_below_of_an_equal_tensor_is_seen() -> None:
    values = run(ONE)
    values["y0"] = (values["x"].astype(np.float64) @ ONE.constants["w0"].astype(np.float64)).astype(
        np.float32
    )
    (one,) = judge(ONE, values).tensors
    assert with_weights_changed(ONE, values, 1.05 * one.blind_below, "y0").verdict in ("coarse", "different")


def test_blind_below_holds_behind_a_large_bias() -> None:
    node = Node("dense", "Gemm", Gemm(), ("x", "w", "b"), ("y",))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((16, 64)).astype(np.float32), rng.standard_normal((64, 64)).astype(np.float32)
    b = np.full(64, 1e4, np.float32)
    graph = Graph((node,), {"x": Declared()}, ("y",), {"w": w, "b": b})
    (one,) = judge(graph, {"x": x, "y": x @ w + b}).tensors
    changed = x @ (w.astype(np.float64) * (1 + 2 * one.blind_below)).astype(np.float32) + b
    assert judge(graph, {"x": x, "y": changed}).verdict in ("coarse", "different")


# --- reports -----------------------------------------------------------------------------------


def test_values_of_many_rows_show_an_epsilon_that_is_left_out() -> None:
    """The 4,096 values that are compared lie in 2,000 rows: these are 2,000 means, not 8."""
    rng = np.random.default_rng(0)
    operator = LayerNormalization(epsilon=1e-6)
    node = Node("n", "LayerNormalization", operator, ("x", "scale"), ("y",))
    graph = Graph((node,), {"x": Declared()}, ("y",), {"scale": np.ones(512, np.float32)})
    x = rng.standard_normal((2000, 512)).astype(np.float32)
    centred = x - x.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    for epsilon, right in ((1e-6, True), (0, False)):
        y = centred / np.sqrt(variance + np.float32(epsilon))
        assert judge(graph, {"x": x, "y": y}).same == right, epsilon


def test_json_has_no_number_that_json_has_not() -> None:
    values = run(ONE)
    values["y0"][0, 0] = np.inf
    written = judge(ONE, values).to_json()
    (tensor,) = written["tensors"]
    assert written["verdict"] == "different"
    assert written["first"] == "y0"
    assert tensor["from"] == ["x"]
    assert tensor["ratio"] is None
    assert tensor["worst"] == {
        "index": [0, 0],
        "found": None,
        "expected": pytest.approx(tensor["worst"]["expected"]),
    }


def test_progress_names_each_tensor() -> None:
    graph, seen = chain(3), list[str]()
    judge(graph, run(graph), progress=seen.append)
    assert seen == ["y0", "y1", "y2"]


def test_the_loop_itself_is_right() -> None:
    values = run(ONE)
    values["y0"] = Looped(values["x"]).dot(Looped(ONE.constants["w0"])).value
    (one,) = judge(ONE, values).tensors
    assert one.verdict == "rounding"
    assert one.loop_ratio == pytest.approx(1, rel=0.1)
