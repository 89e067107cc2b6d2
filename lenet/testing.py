"""For a test suite of your own:

    from lenet.testing import assert_same_network
    from my_port import activations, gradients, train


    def test_my_port():
        assert_same_network(activations, gradients, train)

The functions are those of `lenet check --template`; only the first must be there. They run in this
process. A failure's message is what `lenet check` prints: the place, the mistake, its remedy.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lenet.diagnose import diagnose
from lenet.diagnose.own_file.interface import OwnPort
from lenet.diagnose.own_file.process import Checked, check_port
from lenet.diagnose.probe_inputs import standard
from lenet.ports import Port
from lenet.show import check_report


def assert_same_network(
    activations: Callable[..., Any],
    gradients: Callable[..., Any] | None = None,
    train: Callable[..., Any] | None = None,
    *,
    dtype: str = "float32",
    layers: Mapping[str, str | None] | None = None,
) -> None:
    """Assert that the functions are this network, up to rounding.

    Args:
        activations: (params, images) to {layer: array}, or to the logits alone.
        gradients: (params, images, labels) to (loss, {parameter: array}).
        train: (params, batches, recipe) to {parameter: array}.
        dtype: what they compute in, "float32" or "float64".
        layers: their names of layers to ours, as LAYERS in a file of `lenet check`.

    Raises:
        AssertionError: they are not; the text names the mistake.
        Misused: they return what is no array, or names that are unknown.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, not this one
    port, probes = OwnPort(activations, gradients, train, dtype, layers), standard()
    observed = port.observe(probes)
    source = getattr(activations, "__module__", None) or "port"
    checked = Checked(source, tuple(port.functions), observed, diagnose(probes, observed), tuple(port.notes))
    if checked.summary != "ok":
        raise AssertionError("\n" + check_report.text(checked))


def explained(port: Port) -> str:
    """What `lenet check` says of a port of the registry, for the message of a failing test."""
    return "\n" + check_report.text(check_port(port))
