"""Rows of attention that are masked throughout: −1e9 leaves nothing of their scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, Format
from parity.graph import Declared, Graph, Node
from parity.judging import judge
from parity.judging.beyond_the_bound import over
from parity.judging.question import Question
from parity.judging.verdict import Report
from parity.operators import OPERATORS
from tests.parity.judging.chains import Array

MASKED = 2  # the row that is


def attention(rows: int) -> Graph:
    """Scores and a mask are added, and only the shares are recorded."""
    nodes = (
        Node("add", "Add", OPERATORS["Add"](), ("scores", "mask"), ("masked",)),
        Node("softmax", "Softmax", OPERATORS["Softmax"](), ("masked",), ("shares",)),
        Node("copy", "Identity", OPERATORS["Identity"](), ("shares",), ("y",)),
    )
    mask = np.zeros((rows, 1), np.float32)
    mask[MASKED] = -1e9
    return Graph(nodes, {"scores": Declared("float32", (rows, None))}, ("y",), {"mask": mask})


def shares(x: Array) -> Array:
    """Softmax in the format of x."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def judged(row: Array | None, columns: int = 6) -> Report:
    """The report on right shares, but for the masked row."""
    graph = attention(5)
    scores = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    found = shares(scores + graph.constants["mask"])
    if row is not None:
        found[MASKED] = row
    return judge(graph, {"scores": scores, "shares": found, "y": found})


def test_a_row_of_equal_shares_is_what_a_plain_loop_returns() -> None:
    report = judged(None)
    assert [one.verdict for one in report.tensors] == ["rounding", "equal"]
    assert report.tensors[0].strange == 0
    assert report.same


@pytest.mark.parametrize("value", [0.0, 0.9, 1.0])
def test_shares_that_do_not_add_up_to_one_are_wrong(value: float) -> None:
    one = judged(np.full(6, value, np.float32)).tensors[0]
    assert one.verdict == "different"
    assert one.note == "Softmax returns such values for no inputs"
    assert one.worst is not None
    assert one.worst.index[0] == MASKED


def test_other_shares_are_undecided_and_count_within_the_graph() -> None:
    report = judged(np.eye(6, dtype=np.float32)[1])
    assert [one.verdict for one in report.tensors] == ["undecided", "equal"]
    (strange, _) = (one.strange for one in report.tensors)  # a share may be near the plain loop's by chance
    assert 4 <= strange <= 6
    assert report.verdict == "undecided"
    assert f"{strange} of 30 values could be anything" in report.tensors[0].note


@given(
    form=st.sampled_from([FLOAT32, FLOAT16, BFLOAT16]),
    columns=st.integers(1, 3000),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e3]),
    seed=st.integers(0, 2**32),
    finer=st.booleans(),
)
def test_right_shares_are_those_of_some_inputs(
    form: Format, columns: int, scale: float, seed: int, finer: bool
) -> None:
    """Rows of any length, computed in their format or in a finer one."""
    x = np.random.default_rng(seed).standard_normal((4, columns)) * scale
    x = x.astype(np.float32) if finer else form.round(x).astype(form.dtype)
    found = form.round(shares(x).astype(np.float64)).astype(form.dtype)
    question = Question(OPERATORS["Softmax"](), 0, (), ()).inverted(found, form)
    assert question is not None
    expected = question.whole()
    assert (over(np.abs(found.astype(np.float64) - expected.value), expected.bound) <= 1).all()
