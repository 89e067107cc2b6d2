"""Networks of everyday use: no right port to Keras is accused, and a mistake deep inside is named."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from parity import judge, judging, read_onnx
from parity.judging.verdict import Report
from tests.conftest import unavailable

if TYPE_CHECKING:
    from tests.parity.networks.ported import Network

MISTAKES = {
    "resnet": ["same in layer2", "same everywhere", "batch statistics"],
    "mobilenet": ["epsilon", "relu", "padding"],
    "unet": ["cropping", "align corners", "order of the skip"],
    "transformer": ["gelu", "epsilon", "mask", "scale"],
    "lstm": ["order of the gates", "1 added to the forget bias", "second bias missing"],
}
PLANTED = [(name, mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes]


def network(name: str) -> "Network":
    for module in ("torch", "onnxscript", "keras"):
        if find_spec(module) is None:
            unavailable(f"{name} needs {module}")
    from tests.parity.networks.ported import NETWORKS

    return NETWORKS[name]


def judged(one: "Network", mistake: str = "") -> Report:
    """The verdict on the Keras model, from its layers."""
    return judge(read_onnx(one.graph()), one.recorded(mistake))


def judged_from_the_end(one: "Network", mistake: str = "") -> Report:
    """The verdict from the result of the Keras model alone; no cause is searched."""
    graph, values = one.graph().graph, one.recorded(mistake)
    names = graph.input[0].name, graph.output[0].name
    return judging.judge(read_onnx(one.graph()), {name: values[name] for name in names})


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_planted(name: str) -> None:
    assert list(network(name).mistakes) == MISTAKES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_the_module_itself_is_not_accused(name: str) -> None:
    from parity.record import record_torch

    one = network(name)
    values = record_torch(one.loaded(), (one.x,), one.graph())
    assert judge(read_onnx(one.graph()), values).same


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_right_port_is_not_accused(name: str) -> None:
    report = judged(network(name))
    assert report.same, report
    assert not report.unjudged
    assert not any(one.verdict == "undecided" for one in report.tensors)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mistake"), PLANTED)
def test_a_mistake_deep_inside_is_found_and_named(name: str, mistake: str) -> None:
    one = network(name)
    layer, words = one.mistakes[mistake]
    first = judged(one, mistake).first
    assert first is not None
    assert first.tensor == one.tensors()[layer]
    assert any(one in cause.name for one in words.split("|") for cause in first.causes), first


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mistake"), [("resnet", "same in layer2"), ("unet", "order of the skip")])
def test_the_end_alone_tells_right_from_wrong(name: str, mistake: str) -> None:
    one = network(name)
    assert judged_from_the_end(one).same
    assert not judged_from_the_end(one, mistake).same
