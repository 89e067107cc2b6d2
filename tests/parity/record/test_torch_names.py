"""What an exported graph tells of the modules that it was exported from, without PyTorch."""

import json
from typing import Any

import pytest
from onnx import NodeProto, TensorProto, helper

from parity.record import module_names
from parity.record.frameworks.torch_names import (
    CALLS,
    SCOPES,
    Returned,
    Traced,
    plain,
    same_calls,
    scopes,
    traced,
)
from tests.parity.small import model, normal


def node(inputs: str, outputs: str, within: Any = None, key: str = SCOPES, op: str = "Add") -> NodeProto:
    """A node that was traced in these modules, of which the exporter names the operator too."""
    made = helper.make_node(op, inputs.split(), outputs.split())
    if within is not None:
        made.metadata_props.add(key="other", value="[1]")
        written = repr([*within, "aten"]) if key == SCOPES else json.dumps(within)
        made.metadata_props.add(key=key, value=written)
    return made


def graph(*nodes: NodeProto) -> Any:
    made = model(list(nodes), {"x": [2, 3]}, ["y"], {"w": normal(3)})
    made.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, None]))
    made.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
    return made


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("['', 'layer', 'layer.conv', 'aten.conv']", ["layer", "layer.conv"]),
        ("['_orig_mod', 'layer._orig_mod.conv', 'layer.conv', 'x']", ["layer.conv"]),
        ("['layer', 3, 'aten']", ["layer"]),
        ("['aten']", []),
        ("[", []),
        ("'layer'", []),
        ("layer", []),
        ("(" * 500, []),
    ],
)
def test_the_modules_of_a_node_are_read_from_what_the_exporter_writes(written: str, found: list[str]) -> None:
    one = NodeProto()
    one.metadata_props.add(key="other", value="['wrong', 'x']")
    one.metadata_props.add(key=SCOPES, value=written)
    assert scopes(one) == found
    assert scopes(NodeProto()) == []


def test_a_path_has_no_wrappers() -> None:
    assert plain("_orig_mod.layer._orig_mod.0") == "layer.0"
    assert plain("_orig_mod") == ""


def test_what_is_used_outside_of_a_module_leaves_it() -> None:
    told = traced(
        graph(
            node("x w", "a", ["outer", "outer.inner"]),
            node("a w", "b", ["outer"]),
            node("b b", "c", ["last"]),
            node("c", "d", ["last"], op="Relu"),
            node("d d", "y", ["last"]),
        )
    )
    assert told.returned == {
        "outer.inner": (Returned("a", (2, None)),),
        "outer": (Returned("b", None),),
        "last": (Returned("y", None),),
    }
    assert sorted(told.calls) == ["last", "outer", "outer.inner"]
    assert told.calls[2] == "last"
    assert not told.exact


def test_constants_leave_no_module_and_optional_inputs_are_none() -> None:
    told = traced(
        graph(node("", "k", ["m"], op="Constant"), node("x k", "a", ["m"]), node("a k", "y", ["n"]))
    )
    assert told.returned == {"m": (Returned("a", (2, None)),), "n": (Returned("y", None),)}


def test_a_module_that_comes_back_is_called_again() -> None:
    told = traced(
        graph(
            node("x w", "a", ["act"]), node("a w", "b", ["mid"]), node("b w", "c", ["act"]), node("c w", "y")
        )
    )
    assert told.calls == ("act", "mid", "act@1")
    assert told.returned == {
        "act": (Returned("a", (2, None)),),
        "mid": (Returned("b", None),),
        "act@1": (Returned("c", None),),
    }


def test_calls_that_were_written_are_exact() -> None:
    told = traced(
        graph(
            node("x w", "a", ["act"], CALLS), node("a w", "b", ["act@1"], CALLS), node("b w", "y", key=CALLS)
        )
    )
    assert told.exact
    assert told.calls == ("act", "act@1")
    assert {call: [one.name for one in left] for call, left in told.returned.items()} == {
        "act": ["a"],
        "act@1": ["b"],
    }


def test_a_branch_uses_what_it_reads() -> None:
    empty = helper.make_graph([helper.make_node("Relu", ["a"], ["r"])], "then", [], [])
    passed = helper.make_graph([], "else", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])
    choice = helper.make_node("If", ["x"], ["y"], then_branch=empty, else_branch=passed)
    told = traced(graph(node("x w", "a", ["m"]), node("x w", "b", ["n"]), node("x w", "c", ["o"]), choice))
    assert set(told.returned) == {"m", "n"}


def test_a_module_of_which_one_tensor_leaves_has_its_name() -> None:
    assert module_names(
        graph(
            node("x w", "a", ["one"]),
            node("x w", "b", ["two"]),
            node("x w", "c", ["two"]),
            node("a b", "d"),
            node("d c", "y"),
        )
    ) == {"one": "a"}


def told(*calls: str, exact: bool = False) -> Traced:
    return Traced({}, calls, exact)


def test_calls_are_the_same_where_their_number_is() -> None:
    assert same_calls(told("a", "b", "b@1"), ["a", "b", "b@1"], {}) == {"a": "a", "b": "b", "b@1": "b@1"}
    assert same_calls(told("a", "b"), ["a", "b", "b@1", "c"], {}) == {"a": "a"}
    assert same_calls(told("a", "b", exact=True), ["b", "b@1"], {}) == {"b": "b", "b@1": "b@1"}


@pytest.mark.parametrize("exact", [False, True])
def test_a_module_with_two_paths_has_the_calls_of_both(exact: bool) -> None:
    calls = told("a", "other", "a@1", exact=exact)
    found = same_calls(calls, ["a", "a@1", "a@2"], {"other": "a"})
    assert found == {"a": "a", "a@1": "other", "a@2": "a@1"}
    assert same_calls(calls, ["a", "a@1"], {"other": "a"}) == {}
