"""Theano's own: its trap, the gradients that `grad` derives at ties, when functions are compiled, by what."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lenet.compare import compare
from lenet.network import digits as mnist
from lenet.network import weights
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Port
from lenet_numpy import layers as numpy_layers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def layers(open_port) -> Iterator[ModuleType]:
    """`lenet_theano.layers`, where PyTensor is installed; all runs by NumPy, to start at once."""
    open_port("theano")
    from pytensor import config

    from lenet_theano import layers

    with config.change_flags(cxx="", mode="FAST_COMPILE"):
        yield layers


def symbol(array: np.ndarray) -> Any:
    """An expression with the array's dtype and shape, but for the batch."""
    import pytensor.tensor as pt

    return pt.tensor(dtype=array.dtype, shape=(None, *array.shape[1:]))


def whole(*shape: int, low: int = -9) -> np.ndarray:
    """Whole numbers: in float64 no sum of them rounds."""
    return np.random.default_rng(3).integers(low, 10, shape).astype(np.float64)


# --- layers ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("padding", [0, 2])
def test_conv2d_flips_the_kernel_as_theano_did_unless_told_not_to(padding, layers):
    """Told not to, it is the convolution of the other ports; by default PyTensor's `convolve2d`."""
    import pytensor
    from pytensor.tensor.signal.conv import convolve2d

    x, w = whole(2, 3, 7, 9), whole(4, 3, 5, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    true = convolve2d(padded[:, None], w[None], mode="valid", method="direct").sum(axis=2)
    sx, sw = symbol(x), pytensor.shared(w, shape=w.shape)
    by_default = layers.conv2d(sx, sw, border_mode=padding)
    unflipped = layers.conv2d(sx, sw, border_mode=padding, filter_flip=False)
    found = pytensor.function([sx], [true, by_default, unflipped])(x)
    crossed = numpy_layers.conv2d_definition(x, w, np.zeros(4), padding=padding)
    assert not np.array_equal(found[0], crossed)
    assert_array_equal(found[1], found[0], strict=True)
    assert_array_equal(found[2], crossed, strict=True)


@pytest.mark.slow
def test_the_trap_is_found_in_the_first_layer(layers, params, digits, monkeypatch):
    """Theano's default in the place of filter_flip=False: no error, a wrong conv1."""
    from lenet_theano import model, port

    monkeypatch.setattr(model, "conv2d", lambda *given, filter_flip, **more: layers.conv2d(*given, **more))
    trapped = port.Port("theano")
    trapped.load(params)
    (report,) = compare([trapped], params, digits[:200]).ports
    assert report.verdict == "different"
    assert report.first_different == "conv1"


@pytest.mark.parametrize("ws", [2, 3])
def test_pool_2d_and_its_gradient_at_ties_are_those_of_the_numpy_layers(ws, layers):
    """Values 0..2: nearly every window has a tie, and rows and columns are left over."""
    import pytensor

    x = whole(2, 3, 7, 11, low=7) - 7
    sx, dy = symbol(x), whole(2, 3, 7 // ws, 11 // ws)
    y = layers.pool_2d(sx, ws)
    found = pytensor.function([sx], [y, pytensor.grad((y * dy).sum(), sx)])(x)
    want, cache = numpy_layers.max_pool2d(x, size=ws, stride=ws)
    assert_array_equal(found[0], want, strict=True)
    assert_array_equal(found[1], numpy_layers.max_pool2d_backward(dy, cache), strict=True)


def test_relu_stops_the_gradient_at_zero(layers):
    import pytensor

    x = np.array([-1.0, -0.0, 0.0, 1.0])
    sx = pytensor.tensor.vector(dtype="float64")
    y = layers.relu(sx)
    found = pytensor.function([sx], [y, pytensor.grad(y.sum(), sx)])(x)
    assert_array_equal(found[0], [0.0, 0.0, 0.0, 1.0])
    assert_array_equal(found[1], [0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("rival", ["maximum", "half the sum with |x|"])
def test_what_the_docstring_says_of_other_relus_is_so(rival, layers):
    """Were it not, `relu` could be written so."""
    import pytensor
    import pytensor.tensor as pt

    x = pt.dscalar()
    y, slope = (pt.maximum(x, 0), 1.0) if rival == "maximum" else ((x + abs(x)) / 2, 0.5)
    assert pytensor.grad(y, x).eval({x: 0.0}) == slope


def test_what_the_docstring_says_of_max_at_a_tie_is_so(layers):
    """Were it not, `pool_2d` could be written so."""
    import pytensor

    x = pytensor.tensor.dvector()
    assert_array_equal(pytensor.grad(x.max(), x).eval({x: np.array([0.0, 2.0, 2.0])}), [0, 1, 1])


# --- compilation -------------------------------------------------------------------------------


def settings() -> tuple[Any, ...]:
    from pytensor import config

    return config.floatX, config.mode, config.linker, config.cxx


class Compiled(NamedTuple):
    """All that a port compiled, and PyTensor's settings before it and after it."""

    functions: list[Any]
    before: tuple[Any, ...]
    after: tuple[Any, ...]


@pytest.fixture(scope="module")
def compiled(open_port, params, digits) -> Compiled:
    """By a port that is asked everything twice, with other digits and another recipe."""
    open_port("theano")
    from lenet_theano import port as module

    before = settings()

    made, function = [], module.function

    def recorded(*given: Any, **more: Any) -> Any:
        made.append(function(*given, **more))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "function", recorded)
        port = module.Port("theano")
        assert made == []
        for count, recipe in ((2, Recipe(momentum=0.5)), (3, Recipe(momentum=0.25, weight_decay=0.5))):
            port.load(params)
            images, labels = digits.images[:count], digits.labels[:count]
            port.logits(images)
            port.activations(images)
            port.gradients(images, labels)
            port.backward(images, np.ones((count, 10)))
            list(port.train([Batch(images, labels, 0.125)], recipe))
    return Compiled(made, before, settings())


@pytest.mark.slow
def test_each_of_the_five_functions_is_compiled_once_when_first_asked(compiled):
    assert len(compiled.functions) == 5


@pytest.mark.slow
def test_numpy_runs_every_operation_in_float32(compiled):
    """No graph within the graph: Numba would compile it. NumPy has each for whole arrays.

    Nor anything in float64, PyTensor's default.
    """
    from pytensor.graph.op import HasInnerGraph
    from pytensor.link.vm import VMLinker
    from pytensor.tensor.elemwise import Elemwise

    for function in compiled.functions:
        assert isinstance(function.maker.linker, VMLinker)
        assert not function.maker.linker.c_thunks
        nodes = function.maker.fgraph.toposort()
        assert len(nodes) > 50
        assert not any(isinstance(node.op, HasInnerGraph) for node in nodes)
        tensors = [node for node in nodes if isinstance(node.op, Elemwise) and node.outputs[0].ndim]
        assert len(tensors) > 10
        for node in tensors:
            assert node.op.scalar_op.nfunc_spec[1] == len(node.inputs), node
        assert {output.dtype for node in nodes for output in node.outputs} <= {"float32", "int64", "bool"}


@pytest.mark.slow
def test_the_port_leaves_the_settings_of_pytensor_as_they_were(compiled):
    assert compiled.before == compiled.after


def answers(port: Port, *, forward: bool) -> list[str]:
    """The bits of what a float64 port gives: the logits alone, or every layer, loss, gradient and update."""
    digits = mnist.test_set()[:3]
    port.load(weights.read())
    if forward:
        found = [port.logits(digits.images)]
    else:
        batch = Batch(digits.images, digits.labels, 0.125)
        found = [*port.activations(digits.images).values()]
        found.append(np.array(list(port.train([batch, batch], Recipe(momentum=0.5)))))
        found += [*port.params().values(), *port.velocity().values()]
    return [array.tobytes().hex() for array in found]


def answers_elsewhere(environment: dict[str, str], *, forward: bool) -> list[str]:
    """`answers` of a process of its own, where every warning is an error and nothing is said on stderr."""
    code = f"""
from lenet.ports import open_port
from tests.frameworks.test_theano import answers
print(*answers(open_port("theano", "float64"), forward={forward}))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


@pytest.mark.slow
def test_the_port_writes_no_cache_and_heeds_no_settings(open_port, tmp_path):
    """Another precision or mode in PYTENSOR_FLAGS changes no bit, and no file comes to be."""
    environment = {"HOME": str(tmp_path), "PYTENSOR_FLAGS": "floatX=float32,mode=CVM"}
    here = answers(open_port("theano", "float64"), forward=False)
    assert answers_elsewhere(environment, forward=False) == here
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["", "cxx="])
def test_the_port_runs_without_a_compiler_and_without_a_home(flags, open_port, tmp_path):
    """Nor is it slower, so that there is nothing to say: NumPy runs it in any case."""
    (tmp_path / "file").touch()
    environment = {"HOME": str(tmp_path / "file" / "home"), "PATH": str(tmp_path), "PYTENSOR_FLAGS": flags}
    here = answers(open_port("theano", "float64"), forward=True)
    assert answers_elsewhere(environment, forward=True) == here
