"""PyTorch's tensors and modules, without its exporter."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from parity import UserError
from parity.record import record_torch
from parity.record.frameworks.arguments import Arguments
from parity.record.frameworks.torch_hooks import (
    aliases,
    as_array,
    as_tensor,
    inner_module,
    leaves,
    modules,
    on_device,
    watching,
)
from tests.parity.record.frameworks import framework
from tests.parity.small import normal

torch = framework("torch")
nn = torch.nn
Module: Any = nn.Module


def test_tensors_are_found_in_order_in_whatever_holds_them() -> None:
    a, b, c, d = (torch.zeros(n) for n in range(4))
    found = leaves({"z": a, "b": [b, None, (c, {"deep": d})], "text": "no tensor", "n": 3})
    assert [id(one) for one in found] == [id(one) for one in (a, b, c, d)]
    assert leaves(a)[0] is a
    assert leaves(3) == leaves(None) == leaves("text") == []


@pytest.mark.parametrize(
    "dtype",
    [
        np.float32,
        np.float16,
        np.int64,
        np.bool_,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
    ],
)
def test_every_format_goes_over_and_comes_back(dtype: Any) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for given in (array, array[:, ::-1], array.T):
        tensor = as_tensor(given)
        assert str(tensor.dtype) == f"torch.{np.dtype(dtype).name}".replace("torch.bool_", "torch.bool")
        back = as_array(tensor)
        assert back.dtype == given.dtype
        np.testing.assert_array_equal(back, given)
        np.testing.assert_array_equal(as_array(tensor.T), given.T)
        assert not np.shares_memory(back, array)


def test_a_tensor_that_is_kept_in_another_form_is_told_as_it_is() -> None:
    x = torch.tensor([1 + 2j, 3 - 1j])
    np.testing.assert_array_equal(as_array(x.conj()), [1 - 2j, 3 + 1j])
    np.testing.assert_array_equal(as_array(torch.imag(x.conj())), [-2, 1])  # the negation is kept for later
    np.testing.assert_array_equal(as_array(torch.ones(2, requires_grad=True)), [1, 1])


class Parts(Module):
    """A part with two paths, one within another, and one that returns several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.same, self.block = self.act, nn.Sequential(nn.Linear(3, 3), self.act)
        self.unused = nn.Linear(2, 2)

    def forward(self, pair: Any, scale: float = 1.0) -> Any:
        x, y = pair
        return {"sum": self.block(x) + self.act(y * scale), "y": y}


def test_modules_have_their_first_path_and_other_paths_are_known() -> None:
    parts = Parts()
    assert list(modules(parts)) == ["act", "block", "block.0", "unused"]
    assert aliases(parts) == {"same": "act", "block.1": "act"}
    wrapped = torch.compile(parts, backend="eager")
    assert inner_module(wrapped) is parts
    assert inner_module(parts) is parts
    assert list(modules(wrapped)) == list(modules(parts))
    assert aliases(wrapped) == aliases(parts)


def test_each_call_of_what_is_watched_is_kept_as_it_was() -> None:
    parts, x = Parts(), torch.tensor([[-1.0, 2.0, 3.0]])
    with watching(parts, ["act", "unused"]) as seen:
        parts.act(x)
        parts.act(2 * x).mul_(0)
        assert dict(seen) == {}
    assert list(seen) == ["act", "act@1"]
    assert [one.tolist() for one in seen["act"]] == [[[0, 2, 3]]]
    assert [one.tolist() for one in seen["act@1"]] == [[[0, 4, 6]]]
    parts.act(x)
    assert list(seen) == ["act", "act@1"]


def test_arguments_become_tensors_wherever_they_are() -> None:
    given = Arguments(
        {"a": np.ones(2, np.float32), "b": (np.float16(3), [np.arange(2)])},
        {"c": {"d": np.zeros(1)}, "e": 3, "g": "text"},
        {"a": ("x", "")},
    )
    for module, device in ((nn.Linear(1, 1), "cpu"), (nn.Linear(1, 1, device="meta"), "meta")):
        found = on_device(module, given)
        tensors = [
            found.positional["a"],
            found.positional["b"][0],
            found.positional["b"][1][0],
            found.named["c"]["d"],
        ]
        assert [str(one.dtype) for one in tensors] == [
            "torch.float32",
            "torch.float16",
            "torch.int64",
            "torch.float64",
        ]
        assert {one.device.type for one in tensors} == {device}
        assert isinstance(found.positional["b"], tuple)
        assert isinstance(found.positional["b"][1], list)
        assert (found.named["e"], found.named["g"], found.entries) == (3, "text", given.entries)
    elsewhere = Arguments({"a": torch.ones(1, device="meta")}, {}, {})
    assert on_device(nn.ReLU(), elsewhere).positional["a"].device.type == "meta"  # it has no tensor itself
    assert (
        on_device(nn.BatchNorm1d(2, affine=False, device="meta"), given).positional["a"].device.type == "meta"
    )


def test_several_tensors_of_an_argument_have_their_places() -> None:
    x, y = normal(2, 3), normal(2, 3, seed=1)
    names = {"act": "r", "act@1": "s", "return:0": "sum", "return:1": "same"}
    found = record_torch(Parts(), {"pair": (x, y), "scale": 2.0}, names)
    assert set(found) == {"pair:0", "pair:1", *names.values()}
    np.testing.assert_array_equal(found["pair:0"], x)
    np.testing.assert_array_equal(found["pair:1"], found["same"])
    np.testing.assert_array_equal(found["sum"], found["r"] + found["s"])
    np.testing.assert_array_equal(found["s"], np.maximum(2 * y, 0))


def test_a_name_that_nothing_has_is_refused_with_the_nearest() -> None:
    for wrong, near in (("blok.0", "block.0"), ("scal", "scale"), ("retrun", "return")):
        with pytest.raises(UserError) as caught:
            record_torch(Parts(), {"pair": (normal(1, 3), normal(1, 3))}, {wrong: "a"})
        assert str(caught.value).startswith(f"there is no module {wrong!r}; the nearest: {near}")


def test_buffers_of_a_module_in_training_are_put_back_whatever_happens() -> None:
    class Failing(Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(3)

        def forward(self, x: Any, fail: bool = False) -> Any:
            x = self.bn(x)
            if fail:
                raise ValueError
            return x

    module = Failing().train()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    found = record_torch(module, normal(4, 3), {"bn": "y"})
    assert abs(found["y"].mean()) < 1e-6  # of this batch's statistics
    with pytest.raises(ValueError):  # noqa: PT011 (it says nothing)
        record_torch(module, {"x": normal(4, 3), "fail": True}, {"bn": "y"})
    for name, one in module.state_dict().items():
        assert torch.equal(one, before[name]), name
