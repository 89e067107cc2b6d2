"""Which argument takes which input, without any framework."""

from typing import Any

import numpy as np
import pytest

from parity import UserError
from parity.record.frameworks.arguments import bound
from tests.parity.small import normal

IMAGE = normal(2, 3, 5, 4)  # in the graph's layout


def function(image: Any, scale: Any = None, *rest: Any, bias: Any = 0, **more: Any) -> None: ...


def one(data: Any) -> None: ...


def one_needed(data: Any, scale: Any = None) -> None: ...


def none_needed(data: Any = None) -> None: ...


def two(a: Any, b: Any) -> None: ...


def two_with_defaults(a: Any = 1, b: Any = 2) -> None: ...


def nothing() -> None: ...


def several(*rest: Any) -> None: ...


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_sequence_goes_to_the_arguments_in_their_order(kind: Any) -> None:
    found = bound(function, kind([1, 2, 3, 4]), {"scale": ("s", "")})
    assert found.positional == found.all == {"image": 1, "scale": 2, "rest_0": 3, "rest_1": 4}
    assert found.named == {}
    assert found.entries == {
        "image": ("image", ""), "scale": ("s", ""), "rest_0": ("rest_0", ""), "rest_1": ("rest_1", "")
    }  # fmt: skip


def test_one_value_goes_to_the_first_argument_in_the_layout_of_the_function() -> None:
    found = bound(function, IMAGE, {"image": ("x", "NHWC->NCHW")})
    assert list(found.positional) == ["image"]
    np.testing.assert_array_equal(found.positional["image"], IMAGE.transpose(0, 2, 3, 1))
    assert found.entries == {"image": ("x", "NHWC->NCHW")}


def test_a_mapping_has_the_names_of_the_graph_or_of_the_arguments() -> None:
    inputs = {"other": 1, "bias": 2, "x": IMAGE}
    found = bound(function, inputs, {"image": ("x", "NHWC->NCHW"), "other": ("o", "")})
    assert found.positional == {}
    assert list(found.named) == list(found.all) == ["image", "bias", "other"]  # in the function's order
    np.testing.assert_array_equal(found.named["image"], IMAGE.transpose(0, 2, 3, 1))
    assert (found.named["bias"], found.named["other"]) == (2, 1)
    assert found.entries == {"image": ("x", "NHWC->NCHW"), "bias": ("bias", ""), "other": ("o", "")}


def test_a_name_in_the_graph_comes_before_the_same_name_of_an_argument() -> None:
    found = bound(two, {"a": 1, "b": 2}, {"a": ("b", ""), "b": ("a", "")})
    assert found.named == {"a": 2, "b": 1}


@pytest.mark.parametrize("takes", [one, one_needed, none_needed])
def test_a_single_input_goes_to_the_only_argument_that_may_take_it(takes: Any) -> None:
    found = bound(takes, {"x": 3}, {})
    assert found.named == {"data": 3}
    assert found.entries == {"data": ("x", "")}


def test_what_has_a_method_to_permute_is_permuted_by_it() -> None:
    class Tensor:
        ndim = 4

        def permute(self, places: tuple[int, ...]) -> Any:
            return places

    assert bound(one, {"x": Tensor()}, {"data": ("x", "NHWC->NCHW")}).named == {"data": (0, 2, 3, 1)}


@pytest.mark.parametrize(
    ("takes", "inputs", "listed"),
    [
        (two, {"x": 3}, "a, b"),
        (two_with_defaults, {"x": 3}, "a, b"),
        (one, {"x": 3, "y": 4}, "data"),
        (nothing, {"x": 3}, "none"),
        (several, {"x": 3}, "none"),
    ],
)
def test_an_input_that_no_argument_takes_is_refused(takes: Any, inputs: Any, listed: str) -> None:
    with pytest.raises(UserError) as caught:
        bound(takes, inputs, {})
    said = f"there is no argument 'x' (there are: {listed}): name it, names={{argument: 'x'}}"
    assert str(caught.value) == said


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"do not fit the arguments \(a: Any, b: Any\).*: missing .*'b'"):
        bound(two, {"a": 1}, {})
    with pytest.raises(UserError, match=r"do not fit the arguments .*: too many positional arguments"):
        bound(two, (1, 2, 3), {})
    with pytest.raises(UserError, match="'x' has 4 axes, but 'NCH->NHC' tells of 3"):
        bound(one, {"x": IMAGE}, {"data": ("x", "NHC->NCH")})
