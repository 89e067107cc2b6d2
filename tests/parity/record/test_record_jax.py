"""JAX functions: what they return, and what is tagged in them."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from parity import UserError
from parity.errors import MissingFramework
from parity.record import record_jax
from tests.parity.record.frameworks import framework, judged, verdicts
from tests.parity.small import model, normal

jax = framework("jax", "jax.ad_checkpoint")
jnp = jax.numpy
tag = jax.ad_checkpoint.checkpoint_name
X, M = normal(4, 6), normal(6, 5)


def reference() -> Any:
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["product"]),
        helper.make_node("Softmax", ["product"], ["share"]),
        helper.make_node("Tanh", ["share"], ["y"]),
    ]
    return model(nodes, {"x": [4, 6]}, ["y"], {"m": M})


def port(axis: int = -1) -> Any:
    @jax.jit
    def rows(x: Any) -> Any:
        return tag(jax.nn.softmax(tag(x @ M, "product"), axis=axis), "share")

    return jax.jit(lambda data: {"y": jnp.tanh(rows(data))})


def test_a_right_port_is_the_same_function() -> None:
    values = record_jax(port(), {"x": X})
    assert list(values) == ["x", "product", "share", "y"]
    assert judged(reference(), values).verdict == "rounding"


def test_a_wrong_port_is_found_at_its_tag() -> None:
    report = judged(reference(), record_jax(port(axis=0), {"x": X}))
    assert verdicts(report)["product"] == verdicts(report)["y"] == "rounding"
    assert verdicts(report)["share"] == "different"


def test_tags_are_found_in_every_kind_of_call() -> None:
    @jax.custom_jvp
    def own_jvp(x: Any) -> Any:
        return tag(x * 2, "jvp")

    own_jvp.defjvps(lambda tangent, answer, x: tangent)

    @jax.custom_vjp
    def own_vjp(x: Any) -> Any:
        return tag(x * 3, "vjp")

    own_vjp.defvjp(lambda x: (x, None), lambda residual, gradient: (gradient,))

    @jax.checkpoint
    def again(x: Any) -> Any:
        return tag(x * 5, "remat")

    def function(x: Any) -> Any:
        return jax.jit(lambda x: tag(x * 7, "jit"))(own_jvp(x) + own_vjp(x)) + again(x), tag(x, "jit")

    x = np.rint(8 * X)  # integers, so that nothing rounds
    found = record_jax(function, (x,))
    expected = {"x": x, "jvp": x * 2, "vjp": x * 3, "jit": x * 35, "remat": x * 5, "jit@1": x}
    assert set(found) == {*expected, "return:0", "return:1"}
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_names_and_axes_may_be_given() -> None:
    def function(image: Any) -> Any:
        assert image.shape == (1, 8, 6, 3)
        return tag(image + 1, "more") * 2

    x = normal(1, 3, 8, 6)
    names = {"image": ("x", "NHWC->NCHW"), "more": ("m", "NHWC->NCHW"), "return": ("y", "NHWC->NCHW")}
    found = record_jax(function, {"x": x}, names)
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["m"], x + 1)
    np.testing.assert_array_equal(found["y"], (x + 1) * 2)


def test_several_tensors_of_an_argument_or_a_result_have_their_places() -> None:
    def function(pair: Any, k: Any) -> Any:
        return {"z": (pair[0] + k, pair[1]), "a": pair[0]}

    found = record_jax(function, {"pair": (X, X + 1), "k": np.float32(3)})
    assert list(found) == ["pair:0", "pair:1", "k", "a", "z:0", "z:1"]
    for name, array in {"pair:0": X, "pair:1": X + 1, "a": X, "z:0": X + 3, "z:1": X + 1}.items():
        np.testing.assert_array_equal(found[name], array)
    assert list(record_jax(lambda x: {1: x, 2: x}, X)) == ["x", "return:0", "return:1"]


def test_formats_are_kept() -> None:
    found = record_jax(lambda x: x.astype(jnp.bfloat16), normal(3).astype(np.float16))
    assert found["x"].dtype == np.float16
    assert found["return"].dtype == ml_dtypes.bfloat16


def test_a_tag_in_a_loop_is_refused() -> None:
    def looped(x: Any) -> Any:
        return jax.lax.fori_loop(0, 3, lambda k, y: tag(y * 2, "step"), x)

    with pytest.raises(UserError, match=r"the tag 'step' lies within .*: tag what .* returns"):
        record_jax(looped, X)


def test_names_and_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="nothing is named 'prodct'; the nearest: product"):
        record_jax(port(), {"x": X}, {"prodct": "p"})
    with pytest.raises(UserError, match="missing a required argument: 'data'"):
        record_jax(port(), {})
    with pytest.raises(UserError, match=r"no argument 'a' \(there are: data\)"):
        record_jax(port(), {"a": X, "b": X})


def test_missing_jax_is_reported_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingFramework, match=r"JAX is not installed: .*pip install .*jax"):
        record_jax(lambda x: x, X)
