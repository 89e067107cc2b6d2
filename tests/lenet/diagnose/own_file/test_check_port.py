"""`lenet check PORT` of a port that raises is as clear as `lenet check FILE` of a file that does."""

from typing import Any

import numpy as np
import pytest

from lenet.diagnose.own_file import raised_in
from lenet.diagnose.own_file.process import check_file, check_port
from lenet.show import check_report
from lenet_numpy.port import Port as NumpyPort

STAGES = {"_activations": "activations", "_differentiate": "gradients", "_step": "train"}
NET = """
import torch
from torch import nn

NET = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10)
)

def activations(params, images):
    return NET(torch.tensor(images))
"""


def raising(method: str) -> type[NumpyPort]:
    """The NumPy port, whose `method` raises at its second call."""
    calls: list[None] = []

    def fail(port, *arguments):
        calls.append(None)
        if len(calls) > 1:
            raise ValueError("no such\nthing")
        return getattr(NumpyPort, method)(port, *arguments)

    return type("Raising", (NumpyPort,), {method: fail, "__module__": __name__})


@pytest.mark.parametrize(("method", "during"), STAGES.items())
def test_a_port_that_raises_is_reported_and_what_came_before_is_judged(method, during):
    checked = check_port(raising(method)("numpy"))
    assert checked.summary == "failed"
    assert checked.failure is not None
    assert checked.failure.during == during
    place, code, *said = checked.failure.lines
    assert place.endswith("in fail")
    assert "test_check_port.py" in place
    assert code.strip() == 'raise ValueError("no such\\nthing")'
    assert said == ["ValueError: no such", "thing"]
    before = list(STAGES.values()).index(during)
    assert bool(checked.observed.activations) == (before > 0)
    assert bool(checked.observed.gradients) == (before > 1)
    assert checked.verdict is None or checked.verdict.ok
    text = check_report.text(checked)
    assert text.startswith(f"numpy: failed in {during}")
    assert "not offered" not in text


def test_a_port_that_runs_forward_alone_has_not_failed(open_port):
    checked = check_port(open_port("caffe"))
    assert (checked.summary, checked.failure, checked.offered) == ("ok", None, ("activations",))


def raised(source: str) -> str:
    """What is said of the layer that raised, when a file's activations are called with a batch of images."""
    module: dict[str, Any] = {}
    exec(source, module)
    with pytest.raises((RuntimeError, ZeroDivisionError)) as error:
        module["activations"]({}, np.zeros((2, 1, 28, 28), np.float32))
    return raised_in.layer(error.value)


@pytest.mark.slow
def test_the_layer_of_a_sequential_model_that_raised_is_named(tmp_path, open_port):
    open_port("torch")
    (tmp_path / "my_port.py").write_text(NET, encoding="utf-8")
    failure = check_file(tmp_path / "my_port.py", 60, lambda line: None).failure
    assert failure is not None
    (line,) = [line for line in failure.lines if line.startswith("Raised in the layer ")]
    assert line.startswith(
        "Raised in the layer 4: Linear(in_features=400, out_features=10, bias=True), given ("
    )
    assert line.endswith(", 1176)")


LENET = """
import torch
from torch import nn
def activations(params, images):
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding={first}), nn.ReLU(), nn.MaxPool2d(2, {stride}),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120),
    )
    return {{"logits": net(torch.tensor(images)).detach().numpy()}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "stride", "said"),
    [
        (
            0,
            2,
            "256 features come of conv1 with padding 0 in place of 2 or conv1 with padding 1 in place of 2",
        ),
        (2, 1, "1936 features come of pool1 with stride 1 in place of 2"),
    ],
)
def test_the_mistake_before_the_layer_that_raised_is_named(first, stride, said, open_port):
    open_port("torch")
    line = raised(LENET.format(first=first, stride=stride))
    assert line.startswith("Raised in the layer 7: ")
    assert line.endswith(said)


def test_a_layer_is_named_by_its_place_only_where_that_is_known(open_port):
    open_port("torch")
    assert raised(NET.replace("NET(torch", "NET[-1](torch")) == (
        "Raised in Linear(in_features=400, out_features=10, bias=True), given (2, 1, 28, 28)"
    )
    assert raised("def activations(params, images):\n    1 / 0\n") == ""
