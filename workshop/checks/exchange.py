"""Self-checks of notebook 8, which need `onnx`; their parts are in `workshop.checks.marking`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from export import onnx_file
from export.check import check_model
from export.from_numpy import export
from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import test_set
from parity.errors import UserError
from workshop.checks.marking import NotRight, called, check, same_form

Answer = Callable[..., Any]


@check
def head(answer: Answer) -> str:
    """Check the nodes from pool2 to logits, after the given half of the hand-written file."""
    nodes, params = called(answer), weights.read()
    given = export(params)
    whole = type(given)()
    whole.CopyFrom(given)
    del whole.graph.node[6:]
    try:
        whole.graph.node.extend(nodes)
    except TypeError as error:
        raise NotRight("that is no list of nodes: helper.make_node makes one") from error
    try:
        onnx_file.check(whole, "ONNX's checker")
    except UserError as error:
        raise NotRight(str(error)) from error
    verdict = check_model(whole, params, test_set()[:20].images, "your file", ["onnxruntime"])
    if verdict.different:
        raise NotRight(f"it is {verdict.summary}")
    worst = verdict.ran["onnxruntime"].end_to_end
    return (
        f"{len(whole.graph.node)} nodes, {verdict.summary}; onnxruntime's logits at {worst:.4f} of the bound"
    )


@check
def shared_fc1(answer: Answer) -> str:
    """Check TensorFlow's kernel of fc1 in the shared layout, to the bit."""
    # Each value is the index of its place in the shared layout.
    expected = np.arange(np.prod(PARAM_SHAPES["fc1.weight"]), dtype=np.float32).reshape(120, 400)
    kernel = expected.reshape(120, 16, 5, 5).transpose(2, 3, 1, 0).reshape(400, 120)
    found = same_form("fc1.weight", called(answer, kernel.copy()), expected)
    if np.array_equal(found, expected):
        return "all 48,000 weights are in the right place"
    if np.array_equal(found, kernel.T):
        raise NotRight("the shape is right, but the columns are still in H, W, C order")
    if np.array_equal(found, kernel.reshape(120, 400)):
        raise NotRight("a reshape does not move axes; use transpose")
    row, column = (int(i) for i in np.argwhere(found != expected)[0])
    o, (c, h, w) = int(found[row, column]) // 400, np.unravel_index(int(found[row, column]) % 400, (16, 5, 5))
    raise NotRight(
        f"unit {row}, column {column} holds the weight of unit {o}, map {c}, row {h}, column {w}; "
        f"{(found != expected).mean():.0%} are in the wrong place"
    )
