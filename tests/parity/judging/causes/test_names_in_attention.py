"""Names of mistakes in attention, its pieces, its scale and its masks: the true one is said, or none."""

import numpy as np
import pytest
from onnx import NodeProto

from parity.graph import Graph
from parity.judging.causes import judge
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of, names, softmax

# --- pieces of a joint projection --------------------------------------------------------------

X, W = drawn(2, 5, 8), drawn(8, 24, seed=1)
ENDS = [
    N("Transpose", ["K"], ["kt"], perm=[0, 2, 1]),
    N("MatMul", ["Q", "kt"], ["s"]),
    N("Softmax", ["s"], ["p"]),
    N("MatMul", ["p", "V"], ["y"]),
]
BOUNDS = {f"c{n}": np.array([n]) for n in (-1, 0, 8, 16, 24)}
PIECES: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "Split": ([N("Split", ["j"], ["Q", "K", "V"], axis=-1, num_outputs=3)], {}),
    "Slice": (
        [
            N("Slice", ["j", f"c{8 * k}", f"c{8 * k + 8}", "c-1"], [name])
            for k, name in enumerate(("Q", "K", "V"))
        ],
        BOUNDS,
    ),
    "Gather": (
        [
            N("Reshape", ["j", "shape"], ["j3"]),
            *(N("Gather", ["j3", f"i{k}"], [name], axis=2) for k, name in enumerate(("Q", "K", "V"))),
        ],
        {"shape": np.array([2, 5, 3, 8]), **{f"i{k}": np.array(k) for k in range(3)}},
    ),
}
ORDERS = {"K and V swapped": (0, 2, 1), "Q and V swapped": (2, 1, 0), "K, V, Q taken for Q, K, V": (1, 2, 0)}


def of_pieces(order: tuple[int, ...]) -> Array:
    three = np.split(X.astype(np.float64) @ W, 3, -1)
    q, k, v = (three[at] for at in order)
    return softmax(q @ k.swapaxes(1, 2)) @ v


@pytest.mark.parametrize("kind", PIECES)
@pytest.mark.parametrize("name", ORDERS)
def test_pieces_of_a_projection_are_named_by_what_they_are(kind: str, name: str) -> None:
    nodes, constants = PIECES[kind]
    graph = graph_of([N("MatMul", ["x", "w"], ["j"]), *nodes, *ENDS], {"w": W, **constants}, "x")
    assert names(graph, x=X, y=of_pieces((0, 1, 2))) == []
    (one,) = names(graph, x=X, y=of_pieces(ORDERS[name]))
    assert one.split(":")[0] == name


def test_pieces_that_are_split_into_heads_are_named_where_they_are_taken() -> None:
    """Keys and values are exchanged in the attention to the heads, too; that is not said beside it."""
    apart = [
        *(
            node
            for name in "QKV"
            for node in (
                N("Reshape", [name, "heads"], [f"{name}r"]),
                N(
                    "Transpose",
                    [f"{name}r"],
                    [f"{name}h"],
                    perm=[0, 2, 3, 1] if name == "K" else [0, 2, 1, 3],
                ),
            )
        ),
        N("MatMul", ["Qh", "Kh"], ["r"]),
        N("Mul", ["r", "half"], ["s"]),
        N("Softmax", ["s"], ["p"]),
        N("MatMul", ["p", "Vh"], ["y"]),
    ]
    nodes, constants = PIECES["Slice"]
    constants = {**constants, "w": W, "heads": np.array([0, 0, 2, 4]), "half": np.array(0.5, np.float32)}
    graph = graph_of([N("MatMul", ["x", "w"], ["j"]), *nodes, *apart], constants, "x")
    three = [one.reshape(2, 5, 2, 4).swapaxes(1, 2) for one in np.split(X.astype(np.float64) @ W, 3, -1)]

    def attention(q: Array, k: Array, v: Array) -> Array:
        return softmax(q @ k.swapaxes(2, 3) * 0.5) @ v

    assert names(graph, x=X, y=attention(*three)) == []
    q, k, v = three
    assert names(graph, x=X, y=attention(q, v, k)) == ["K and V swapped"]


def test_pieces_of_which_nothing_is_known_are_named_by_their_numbers() -> None:
    nodes = [*PIECES["Slice"][0][:2], N("Sigmoid", ["Q"], ["g"]), N("Mul", ["g", "K"], ["y"])]
    x = drawn(3, 24)
    graph = graph_of([N("Relu", ["x"], ["j"]), *nodes], BOUNDS, "x")
    one, other = (np.maximum(x, 0)[:, start : start + 8].astype(np.float64) for start in (0, 8))
    assert names(graph, x=x, y=one / (1 + np.exp(-other))) == ["pieces 0 and 1 of j exchanged"]


# --- a scale that queries and keys share -------------------------------------------------------

Q, K = drawn(3, 4, 6, 8), drawn(3, 4, 6, 8, seed=1)
# As PyTorch's exporter writes it: the scale is computed from the shape, and its root multiplies both.
SCALED = [
    N("Shape", ["q"], ["shape"]),
    N("Gather", ["shape", "last"], ["d"]),
    N("Cast", ["d"], ["size"], to=1),
    N("Sqrt", ["size"], ["root"]),
    N("Div", ["one", "root"], ["scale"]),
    N("Sqrt", ["scale"], ["half"]),
    N("Mul", ["q", "half"], ["qs"]),
    N("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
    N("Mul", ["kt", "half"], ["ks"]),
    N("MatMul", ["qs", "ks"], ["s"]),
    N("Softmax", ["s"], ["y"]),
]
SCALES: dict[str, float] = {
    "scale left out: 1 for 0.353553": 1.0,
    "scale applied twice: 1/d for 0.353553": 1 / 8,
    "scale multiplied, not divided: sqrt(d) for 0.353553": 8**0.5,
    "scale of all heads together: 1/sqrt(H·d) for 1/sqrt(d)": 32**-0.5,
    "scale 1/sqrt(6), of the length of another axis, for 1/sqrt(8)": 6**-0.5,
}


@pytest.mark.parametrize("name", SCALES)
def test_a_shared_scale_is_named_as_one(name: str) -> None:
    graph = graph_of(SCALED, {"last": np.array(-1), "one": np.array(1.0, np.float32)}, "qk")
    scores = Q.astype(np.float64) @ K.swapaxes(2, 3)
    assert names(graph, q=Q, k=K, y=softmax(scores * 8**-0.5)) == []
    assert names(graph, q=Q, k=K, y=softmax(scores * SCALES[name])) == [name]


# --- masks -------------------------------------------------------------------------------------

SCORES = drawn(2, 3, 6, 6)
MASKED = [N("Add", ["x", "mask"], ["s"]), N("Softmax", ["s"], ["y"])]
CHOSEN = [N("Where", ["seen", "x", "low"], ["s"]), N("Softmax", ["s"], ["y"])]
SEEN = (np.arange(6) < 4)[None] & (np.arange(6) != 2)[:, None]  # the third query sees no key


def masked(low: float, chosen: bool) -> Graph:
    if chosen:
        return graph_of(CHOSEN, {"seen": SEEN, "low": np.array(low, np.float32)}, "x")
    return graph_of(MASKED, {"mask": np.where(SEEN, 0, low).astype(np.float32)}, "x")


@pytest.mark.parametrize("chosen", [False, True], ids=["added", "chosen by"])
@pytest.mark.parametrize("low", [-1e4, -1e9, float(np.finfo(np.float32).min), -np.inf])
def test_fully_masked_rows_are_named(low: float, chosen: bool) -> None:
    seen = softmax(np.where(SEEN, SCORES, -1e4))
    rows = ~SEEN.any(-1, keepdims=True)
    graph = masked(low, chosen)
    assert names(graph, x=SCORES, y=np.where(rows, 0, seen)) == ["fully masked rows are zeros"]
    other = {"NaN": np.nan} if np.isfinite(low) else {"uniform": 1 / 6}
    for word, value in other.items():
        assert names(graph, x=SCORES, y=np.where(rows, value, seen)) == [f"fully masked rows are {word}"]


CORNERS = {
    "queries do not see themselves, except for the first, which sees nothing else": [0, 0, 1, 2, 3, 4],
    "queries see the next key": [1, 2, 3, 4, 5, 5],
}


@pytest.mark.parametrize("name", CORNERS)
def test_a_causal_mask_off_by_one_is_named_by_its_first_row(name: str) -> None:
    """The last key that each query sees."""
    graph = graph_of([N("Attention", [*"qkv"], ["y"], is_causal=1)], {}, "qkv", opset=23)
    q, k, v = (drawn(2, 3, 6, 8, seed=seed) for seed in range(3))

    def seeing(last: Array) -> Array:
        scores = q.astype(np.float64) @ k.swapaxes(2, 3) * 8**-0.5
        return softmax(np.where(np.arange(6) <= last[:, None], scores, -np.inf)) @ v

    assert names(graph, q=q, k=k, v=v, y=seeing(np.arange(6))) == []
    wrong = seeing(np.array(CORNERS[name]))
    assert names(graph, q=q, k=k, v=v, y=wrong) == [f"causal mask off by one: {name}"]


def test_zeros_everywhere_are_no_sigmoid() -> None:
    graph = graph_of(MASKED, {"mask": np.full((6, 6), -1e4, np.float32)}, "x")
    assert names(graph, x=SCORES, y=0 * SCORES) == ["fully masked rows are zeros"]


def test_that_all_values_are_one_number_is_said_where_the_bound_allows_it() -> None:
    graph = graph_of(MASKED, {"mask": np.full((6, 6), -1e9, np.float32)}, "x")
    (one,) = judge(graph, {"x": SCORES, "y": np.full_like(SCORES, 0.9)}).tensors
    assert one.causes == ()
    assert one.clues == ("every value is 0.9",)


def test_a_bound_as_wide_as_the_values_explains_nothing() -> None:
    """-1e9 swallows the scores: by the worst case of rounding, any shares are right, along any axis."""
    graph = graph_of(MASKED, {"mask": np.full((6, 6), -1e9, np.float32)}, "x")
    y = np.random.default_rng(0).uniform(0, 1, SCORES.shape)
    assert names(graph, x=SCORES, y=y) == []


def test_a_transposed_causal_mask_is_named() -> None:
    causal, low = np.tri(6, dtype=bool), np.array(-np.inf, np.float32)
    added = graph_of(MASKED, {"mask": np.where(causal, 0, low).astype(np.float32)}, "x")
    chosen = graph_of(CHOSEN, {"seen": causal, "low": low}, "x")
    y = softmax(np.where(causal.T, SCORES, -np.inf))
    assert names(added, x=SCORES, y=y) == names(chosen, x=SCORES, y=y) == ["mask transposed"]
