"""Anybody's functions: what they may return, what is refused, and what is told of them."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.own_file.interface import Misused, OwnPort, to_numpy
from lenet.diagnose.probe_inputs import standard
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.recipe import Batch, Recipe
from lenet.testing import assert_same_network
from tests.planted.ports import numpy_port


def right_functions() -> dict[str, Any]:
    """The NumPy port as plain functions."""
    port = numpy_port()

    def activations(params, images):
        port.load(params)
        return port.activations(images)

    def gradients(params, images, labels):
        port.load(params)
        return port.gradients(images, labels)

    def train(params, batches, recipe):
        port.load(params)
        list(port.train(batches, recipe))
        return port.params()

    return {"activations": activations, "gradients": gradients, "train": train}


@pytest.mark.slow
def test_right_functions_pass_and_leave_nothing_unsaid():
    port = OwnPort(**right_functions())
    port.observe(standard())
    assert port.notes == []
    assert_same_network(**right_functions())


@pytest.mark.slow
def test_logits_alone_as_lists_of_numbers():
    right = right_functions()["activations"]
    assert_same_network(lambda p, x: right(p, x)["logits"].tolist())
    with pytest.raises(AssertionError, match=r"judged +1 layer \(logits\)"):
        assert_same_network(lambda p, x: right(p, x[..., ::-1].copy())["logits"].tolist())


@pytest.mark.slow
def test_layers_and_parameters_by_names_of_ones_own():
    right = right_functions()
    layers = {"first conv": "conv1", "out": "logits", "dropout": None, "W": "fc1.weight"}

    def activations(params, images):
        found = right["activations"](params, images)
        return {"first conv": found["conv1"], "out": found["logits"], "dropout": "anything"}

    def gradients(params, images, labels):
        loss, grads = right["gradients"](params, images, labels)
        grads = {name.replace("conv1", "first conv"): grad for name, grad in grads.items()}
        return [loss], {"W": grads.pop("fc1.weight"), "dropout.weight": None, **grads}

    port = OwnPort(activations, gradients, layers=layers)
    found = port.observe(standard())
    assert all(list(answer) == ["conv1", "logits"] for answer in found.activations.values())
    assert all(set(grads) == set(PARAM_SHAPES) for _, grads in found.gradients.values())
    assert_same_network(activations, gradients, layers=layers)


def test_a_port_is_given_what_it_claims_to_compute_in():
    given: list[np.ndarray] = []

    def activations(params, images):
        given.extend([images, *params.values()])
        return images[:, 0, 0, :10]

    probe = standard().probes[0]
    OwnPort(activations, dtype="float64").activations(probe.params, probe.images)
    assert {array.dtype.name for array in given} == {"float64"}


class Tensor:
    """As PyTorch's, on a device and with a history: NumPy cannot read it there, nor in bfloat16."""

    def __init__(self, values, dtype: str = "torch.float32", where: str = "device with history") -> None:
        self.values, self.dtype, self.where = values, dtype, where

    def detach(self) -> "Tensor":
        return Tensor(self.values, self.dtype, "device")

    def cpu(self) -> "Tensor":
        assert self.where == "device"
        return Tensor(self.values, self.dtype, "here")

    def float(self) -> "Tensor":
        return Tensor(self.values, "torch.float32", self.where)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        assert (self.where, self.dtype) == ("here", "torch.float32")
        return np.array(self.values, np.float32)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (Tensor([1, 2]), "float32"),
        (Tensor([1, 2], "torch.bfloat16"), "float32"),
        ([1.0, 2.0], "float64"),
        ((1, 2), "int64"),
        (np.array([1, 2], ">f4"), "float32"),
        (np.array([1, 2], np.float16), "float16"),
        (np.array([1, 2], ml_dtypes.bfloat16), "float32"),
        (np.array([1, 2], np.longdouble), "float64"),
        (np.array([[1, 0], [2, 0]], np.float32).T[0], "float32"),
    ],
    ids=[
        "tensor",
        "bfloat16 tensor",
        "list",
        "tuple",
        "big-endian",
        "float16",
        "bfloat16",
        "longdouble",
        "view",
    ],
)
def test_whatever_holds_numbers_is_an_array(value, dtype):
    array = to_numpy(value, "it")
    assert (array.tolist(), array.dtype.name, array.dtype.isnative) == ([1, 2], dtype, True)
    assert array.flags.c_contiguous


def returns(value):
    return lambda *_: value


EVERY = {name: np.zeros(shape) for name, shape in PARAM_SHAPES.items()}


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({"activations": None}, "no function activations"),
        ({"activations": 3}, r"activations is an int, expected a function activations\(params, images\)"),
        ({"activations": returns(None)}, "what activations returned is None, expected a dict"),
        ({"activations": returns(x for x in "ab")}, "is a generator, expected a dict"),
        ({"activations": returns("logits")}, "is a str, expected a dict"),
        ({"activations": returns([[1, 2], [3]])}, "is a list of 2, expected a dict.*inhomogeneous"),
        ({"activations": returns({})}, "activations returned no layer"),
        ({"activations": returns({"conv_1": 0})}, r"mean 'conv1'\? If so, add LAYERS = {'conv_1': 'conv1'}"),
        ({"activations": returns({"out": 0})}, "'out', which is unknown; known are conv1, relu1,.*LAYERS"),
        ({"activations": returns({3: 0})}, "3, which is unknown"),
        ({"activations": returns({"conv1": None})}, r"activations\(\)\['conv1'\] is None, expected an array"),
        ({"activations": returns({"conv1": np.array([1j])})}, "is an array of complex128"),
        ({"layers": {"a": "logits", "b": "logits"}, "activations": returns({"a": 0, "b": 0})}, "twice"),
        ({"layers": {"a": "convolution"}}, "LAYERS maps 'a' to 'convolution', expected one of conv1"),
        ({"layers": ["conv1"]}, "LAYERS is a list of 1, expected a dict"),
        ({"dtype": "half"}, "DTYPE is 'half', expected 'float32' or 'float64'"),
        ({"gradients": returns(None)}, r"gradients returned None, expected \(loss"),
        ({"activations": returns(np.broadcast_to(0.0, (2**27, 1)))}, r"shape \(134217728, 1\), .* too large"),
        ({"gradients": returns({})}, "neither a loss nor any gradient"),
        ({"gradients": returns((1.0, 2.0, 3.0))}, "gradients returned a tuple of 3, expected"),
        ({"gradients": returns((np.zeros(16), {}))}, r"the loss of gradients has shape \(16,\), exp"),
        ({"gradients": returns((0, {"fc1.w": 0}))}, "'fc1.w', which is unknown; did you mean 'fc"),
        ({"train": returns([1, 2])}, "train returned a list of 2, expected"),
        ({"train": returns({n: w for n, w in EVERY.items() if n != "fc1.bias"})}, "returned no 'fc1.bias'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(functions, said):
    with pytest.raises(Misused, match=said) as refusal:
        OwnPort(**right_functions() | functions).observe(standard())
    assert len(str(refusal.value).splitlines()) == 1


def test_a_gradient_that_is_none_is_zero_and_said():
    def gradients(params, images, labels):
        loss, grads = right_functions()["gradients"](params, images, labels)
        return loss, grads | {"conv1.bias": None}

    port = OwnPort(right_functions()["activations"], gradients)
    found = port.observe(standard())
    assert all(not grads["conv1.bias"].any() for _, grads in found.gradients.values())
    assert port.notes == ["gradients returned None for conv1.bias: treated as zeros"]


def test_gradients_without_a_loss_are_read():
    port = OwnPort(right_functions()["activations"], lambda *a: right_functions()["gradients"](*a)[1])
    assert {loss for loss, _ in port.observe(standard()).gradients.values()} == {None}


@pytest.mark.slow
def test_writing_into_the_arguments_is_told_and_harms_nobody():
    right = right_functions()

    def activations(params, images):
        found = right["activations"](params, images)
        images *= 255
        return found

    def gradients(params, images, labels):
        found = right["gradients"](params, images, labels)
        params["fc1.weight"][:] = 0
        labels += 1
        return found

    def train(params, batches, recipe):
        found = right["train"](params, batches, recipe)
        for batch in batches:
            batch.images[:] = 0
        for name in params:
            params[name] -= 1
        return found

    port = OwnPort(activations, gradients, train)
    port.observe(standard())
    assert [note.partition(";")[0] for note in port.notes] == [
        "activations writes into its images",
        "gradients writes into its params",
        "gradients writes into its labels",
        "train writes into its params",
        "train writes into its images",
    ]
    assert_same_network(activations, gradients, train)


def test_replacing_an_entry_of_the_dict_is_no_writing():
    def activations(params, images):
        params["fc1.weight"] = params["fc1.weight"].astype(np.float64).astype(np.float32)
        del params["fc1.bias"]
        return images[:, 0, 0, :10]

    port = OwnPort(activations)
    port.activations(standard().probes[0].params, standard().probes[0].images)
    assert port.notes == []


def assert_one(verdict, where: str, name: str) -> None:
    assert [(one.where, one.causes[0].name) for one in verdict.findings] == [(where, name)]


def judged(activations, gradients=None, train=None):
    return diagnose(standard(), OwnPort(activations, gradients, train).observe(standard()))


def test_a_random_answer_is_found_at_once_and_named():
    rng, right, calls = np.random.default_rng(0), right_functions(), []

    def activations(params, images):
        calls.append("activations")
        found = right["activations"](params, images)
        return found | {"relu3": found["relu3"] * (rng.random(found["relu3"].shape) > 0.5)}

    verdict = judged(activations, lambda *a: calls.append("gradients"), lambda *a: calls.append("train"))
    assert_one(verdict, "relu3", "random output")
    assert calls == ["activations", "activations"]


def test_random_steps_are_found_at_once_and_named():
    rng, right, calls = np.random.default_rng(0), right_functions(), []

    def train(params, batches, recipe):
        calls.append(len(batches))
        found = right["train"](params, batches, recipe)
        return found | {"fc2.bias": found["fc2.bias"] + rng.normal(0, 1e-4, 84).astype(np.float32)}

    assert_one(judged(right["activations"], train=train), "fc2.bias after step 1", "random output")
    assert calls == [1, 1]


@pytest.mark.slow
def test_steps_in_a_random_order_are_named_though_the_first_is_right():
    rng, right = np.random.default_rng(0), right_functions()

    def train(params, batches, recipe):
        order = rng.permutation(len(batches))
        return right["train"](params, [batches[k] for k in order], recipe)

    verdict = judged(right["activations"], train=train)
    assert [one.name for one in verdict.diagnoses] == ["random output"]
    assert verdict.first.endswith("after step 9")


@pytest.mark.slow
def test_steps_that_are_right_at_first_and_not_again_have_kept_something():
    right, calls = right_functions(), []

    def train(params, batches, recipe):
        calls.append(len(batches))
        found = right["train"](params, batches, recipe)
        return {name: w + (calls.count(9) > 1) for name, w in found.items()}

    verdict = judged(right["activations"], train=train)
    assert [one.name for one in verdict.diagnoses] == ["state kept between calls"]


def test_what_a_first_call_leaves_behind_is_no_random_output():
    right, kept = right_functions(), []

    def activations(params, images):
        kept.append(0.0)
        return right["activations"](params, images)["logits"] + np.float32(len(kept) - 1)

    assert_one(judged(activations), "logits", "state kept between calls")


def test_sums_in_a_random_order_are_no_random_output():
    right, rng = right_functions()["activations"], np.random.default_rng(0)

    def activations(params, images):
        found = right(params, images)
        order = rng.permutation(84)
        logits = np.zeros((len(images), 10), np.float32) + params["logits.bias"]
        for k in order:
            logits += found["relu4"][:, k, None] * params["logits.weight"][:, k]
        return found | {"logits": logits}

    verdict = judged(activations)
    assert verdict.ok, str(verdict)
    assert verdict.notes == ()


def test_batches_and_recipe_are_those_of_the_recipe():
    seen = []

    def train(params, batches, recipe):
        seen.append((params, batches, recipe))
        return params

    OwnPort(returns(np.zeros((16, 10))), train=train).observe(standard())
    assert [len(batches) for _, batches, _ in seen] == [1, *range(1, 10), 9]
    params, batches, recipe = seen[-1]
    assert isinstance(recipe, Recipe)
    assert all(isinstance(batch, Batch) and batch.images.dtype == np.float32 for batch in batches)
    assert len({batch.rate for batch in batches}) > 1
    assert {name: array.shape for name, array in params.items()} == PARAM_SHAPES
