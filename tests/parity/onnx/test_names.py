"""Names that are no text, which protobuf returns as bytes: refused wherever they are."""

from pathlib import Path

import numpy as np
import pytest
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from tests.parity.onnx.read_models import refused
from tests.parity.small import saved


def value(name: str, dimension: str = "N") -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [dimension])


def a_graph(name: str, nodes: list[NodeProto]) -> GraphProto:
    """A graph whose names all start with its own; also a dense and a sparse weight."""
    values = numpy_helper.from_array(np.ones(1, np.float32), f"{name}-sparse")
    places = numpy_helper.from_array(np.zeros(1, np.int64))
    return helper.make_graph(
        nodes,
        f"{name}-name",
        [value(f"{name}-input", f"{name}-rows")],
        [value(f"{name}-output", f"{name}-columns")],
        [numpy_helper.from_array(np.ones(1, np.float32), f"{name}-weight")],
        value_info=[value(f"{name}-value", f"{name}-size")],
        sparse_initializer=[helper.make_sparse_tensor(values, places, [3])],
    )


def a_node(name: str) -> NodeProto:
    node = helper.make_node(f"{name}-type", [f"{name}-in"], [f"{name}-out"], f"{name}-name")
    node.domain, node.overload = f"{name}-domain", f"{name}-overload"
    node.attribute.add(name=f"{name}-attribute", ref_attr_name=f"{name}-refers", type=AttributeProto.INT)
    return node


def a_model() -> ModelProto:
    branch = helper.make_attribute("branch", a_graph("inner", [a_node("nested")]))
    outer = a_node("node")
    outer.attribute.append(branch)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("imported", 1)]
    function = helper.make_function("function-domain", "function-name", [], [], [a_node("called")], imports)
    function.overload = "function-overload"
    return helper.make_model(a_graph("graph", [outer]), opset_imports=imports, functions=[function])


def read(of: str, *parts: str) -> list[str]:
    return [f"{of}-{part}" for part in parts]


NODE = ("type", "in", "out", "name", "domain", "overload", "attribute", "refers")
NAMES = [
    "imported",
    *read("graph", "name", "input", "output", "weight", "sparse", "rows", "columns", "size"),
    *read("function", "domain", "name", "overload"),
    *(name for of in ("node", "called", "nested") for name in read(of, *NODE)),
    *read("inner", "input", "output", "weight", "sparse"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    path = saved(a_model(), tmp_path)
    data = path.read_bytes()
    assert name.encode() in data
    path.write_bytes(data.replace(name.encode(), b"\xff" + name[1:].encode()))
    refused(path, f"^{path}: a damaged ONNX file: it has names that are no text$")
