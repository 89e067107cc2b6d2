"""What lies between a port's public methods and its adapter, and what its process is set up with."""

import ctypes
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lenet import ports
from lenet.network.recipe import Batch, Recipe
from lenet.ports import FRAMEWORKS, Framework, Unsupported, open_port
from lenet.ports.contract import ForwardPort
from lenet.ports.memory import LARGEST, MMAP_THRESHOLD, TRIM_THRESHOLD, keep_freed
from lenet.ports.quiet import hide_warnings
from lenet.ports.registry import modes
from lenet_numpy.port import Port as NumpyPort
from parity.errors import UserError
from tests.helpers import one_line

RECIPE = Recipe(momentum=0.5, weight_decay=0.25)


def test_what_is_timed_computes_what_is_checked(digits, params):
    few, timed, checked = digits[:8], open_port("numpy"), NumpyPort("numpy")
    assert checked.dtype == "float32"
    for port in (timed, checked):
        port.load(params)
    inputs, targets = timed.inputs(few.images), timed.targets(few.labels)
    np.testing.assert_array_equal(timed.forward(inputs), checked.logits(few.images))
    assert list(timed.train([], RECIPE)) == []  # which sets up the optimizer
    losses = [timed.one_step(inputs, targets, 0.125) for _ in range(2)]
    assert losses == list(checked.train([Batch(few.images, few.labels, 0.125)] * 2, RECIPE))
    for name, array in checked.params().items():
        np.testing.assert_array_equal(timed.params()[name], array)
    with pytest.raises(UserError, match="labels must lie in"):
        timed.targets(few.labels + 10)
    with pytest.raises(UserError, match="images have shape"):
        timed.inputs(few.images[0])


class Looking(ForwardPort):
    """A port that returns the mean of an image ten times, and differentiates nothing."""

    def _setup(self) -> None: ...

    def _load(self, params: Any) -> None: ...

    def _inputs(self, images: np.ndarray) -> Any:
        return images

    def _forward(self, inputs: Any) -> np.ndarray:
        return np.repeat(inputs.mean(axis=(1, 2, 3))[:, None], 10, axis=1)

    def _outputs(self, inputs: Any) -> dict[str, Any]:
        return {}


@pytest.fixture
def looking(monkeypatch, params) -> Looking:
    line = Framework("gone", "numpy", dtypes=("float32",), forward_only="it only looks")
    monkeypatch.setitem(FRAMEWORKS, "looking", line)
    port = Looking("looking:fast")
    port.load(params)
    return port


def test_a_port_that_only_looks_forward_refuses_the_rest_with_its_reason(looking, digits):
    few = digits[:8]
    assert (looking.mode, looking.version) == ("fast", np.__version__)
    np.testing.assert_array_equal(looking.logits(few.images)[:, 3], few.images.mean(axis=(1, 2, 3)))
    gradients: list[Any] = [
        lambda: looking.gradients(few.images, few.labels),
        lambda: looking.backward(few.images, np.zeros((8, 10))),
        lambda: looking._differentiate(few.images, few.labels),
        lambda: looking._pull_back(few.images, np.zeros((8, 10))),
    ]
    trained: list[Any] = [
        lambda: list(looking.train([], RECIPE)),
        lambda: looking.targets(few.labels),
        lambda: looking.one_step(few.images, few.labels, 0.1),
        lambda: looking._framework({}),
        lambda: looking._make_optimizer(RECIPE, {}),
        lambda: looking._velocity(),
    ]
    for what, calls in (("gradients", gradients), ("training", trained)):
        for call in calls:
            with pytest.raises(Unsupported) as refusal:
                call()
            assert one_line(refusal) == f"port 'looking:fast' has no {what}: it only looks"


def test_a_dtype_that_a_port_does_not_compute_in_is_refused(looking):
    with pytest.raises(Unsupported) as refusal:
        Looking("looking", "float64")
    assert one_line(refusal) == "port 'looking' computes in float32 alone, not float64"


def test_a_name_stands_for_itself_or_for_all_modes_of_its_framework():
    assert modes("torch") == ["torch"]
    assert modes("torch:compile") == ["torch:compile"]
    assert modes("onnx") == [name for name in ports.names(forward_only=True) if name.startswith("onnx:")]
    assert len(modes("onnx")) == 15
    assert modes("nothing") == []


# --- the process of a port ---------------------------------------------------------------------


def test_malloc_is_told_to_keep_what_is_freed(monkeypatch):
    told = []
    library = SimpleNamespace(mallopt=lambda which, value: told.append((which, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library if name is None else None)
    keep_freed()
    assert told == [(TRIM_THRESHOLD, 2**31 - 1), (MMAP_THRESHOLD, LARGEST)]


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_alone(error, monkeypatch):
    def load(name: None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", load)
    keep_freed()


@pytest.mark.parametrize(("options", "hidden"), [([], True), (["default"], False)])
def test_warnings_are_hidden_unless_they_are_asked_for(options, hidden, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", options)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        hide_warnings()
        warnings.warn("shown", stacklevel=1)
    assert len(seen) == (0 if hidden else 1)
