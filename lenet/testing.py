"""An assertion for your own test suite, which judges your port as `lenet check` does:

    from lenet.testing import assert_same_network
    from my_port import activations, gradients, train


    def test_my_port():
        assert_same_network(activations, gradients, train)

The functions are those of `lenet check --template`; only the first is required. They run in this process. A
failing test shows what `lenet check` prints: the place, the mistake and its remedy.
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
    """Assert that the functions compute this network, up to rounding.

    Args:
        activations: takes (params, images), returns {layer: array} or the logits as an array.
        gradients: takes (params, images, labels), returns (loss, {parameter: array}).
        train: takes (params, batches, recipe), returns {parameter: array}.
        dtype: the type that they compute in, "float32" or "float64".
        layers: {their name of a layer: ours}, like LAYERS in a file of `lenet check`.

    Raises:
        AssertionError: the verdict is not "ok": they compute another function, or this one less
            accurately, or the values do not tell; the text names the mistake.
        Misused: a returned value is no array, or a name is unknown.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, not this line
    port, probes = OwnPort(activations, gradients, train, dtype, layers), standard()
    observed = port.observe(probes)
    source = getattr(activations, "__module__", None) or "port"
    checked = Checked(source, tuple(port.functions), observed, diagnose(probes, observed), tuple(port.notes))
    if checked.summary != "ok":
        raise AssertionError("\n" + check_report.text(checked))


def explained(port: Port) -> str:
    """The report of `lenet check` on a port of the registry, for the message of a failing test."""
    return "\n" + check_report.text(check_port(port))
