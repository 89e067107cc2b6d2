"""The registry: what it refuses, what it imports, and that modes are what they are called."""

import importlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from _pytest.outcomes import Failed, Skipped

from lenet import ports
from lenet.network.digits import Digits
from lenet.network.recipe import Batch, Recipe
from lenet.ports import FRAMEWORKS, Framework, registry
from lenet.ports.registry import Broken
from parity.errors import MissingFramework, UserError, install_line, pip
from tests.conftest import beyond
from tests.helpers import one_line


@pytest.fixture(scope="module")
def few(digits) -> Digits:
    return digits[:3]


# --- the registry ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [("caffe3", "caffe"), ("torch:xla", "torch"), ("", None), ("numpy:", "numpy"), ("mxnet", None)],
)
def test_an_unknown_port_is_refused_with_the_nearest_known_one(name, meant):
    with pytest.raises(UserError) as refusal:
        ports.open_port(name)
    said = one_line(refusal)
    assert said.startswith(f"unknown port '{name}'")
    assert ("did you mean" in said) == (meant is not None)
    assert meant is None or f"did you mean {meant!r}?" in said
    assert said.endswith(f"`lenet ports` lists all {len(ports.names(forward_only=True))}")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("torch:compile", "torch"),
        ("litert", "ai_edge_litert"),
        ("onnx:tf/reference", "onnx"),
        ("onnx:tf/onnxruntime-all", "onnxruntime"),
        ("onnx:numpy/opencv", "cv2"),
    ],
)
def test_a_mode_runs_in_its_runtime(name, package):
    framework, _, mode = name.partition(":")
    assert FRAMEWORKS[framework].runs_in(mode) == package


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_missing_framework_is_refused_with_the_line_that_installs_it(framework, monkeypatch):
    line, find = FRAMEWORKS[framework], importlib.util.find_spec
    name = f"{framework}:{line.modes[0]}".removesuffix(":")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == line.package else find(n))
    assert not ports.installed(name)
    with pytest.raises(MissingFramework) as refusal:
        ports.open_port(name)
    assert one_line(refusal) == f"port {name!r} needs {line.package}: {install_line(line.package)}"


@pytest.mark.parametrize(("ci", "outcome"), [("", Skipped), ("true", Failed)])
def test_a_test_of_a_missing_framework_is_skipped_but_fails_under_ci(ci, outcome, open_port, monkeypatch):
    gone = Framework("lenet_gone.port", "no_such_framework")
    monkeypatch.setitem(FRAMEWORKS, "gone", gone)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(
        outcome, match=f"port 'gone' needs no_such_framework: {pip()} install no_such_framework"
    ):
        open_port("gone")


@pytest.mark.parametrize(
    ("asked", "marks", "left_out"),
    [
        ({"port_name": "narrow", "dtype": "float32"}, (), False),
        ({"port_name": "narrow", "dtype": "float64"}, (), True),
        ({"port_name": "narrow", "judged": "float64"}, (), True),
        ({"port_name": "narrow"}, ("one_winner",), True),
        ({"port_name": "numpy", "dtype": "float64"}, ("one_winner",), False),
        ({"dtype": "float64"}, ("one_winner",), False),
    ],
)
def test_a_port_is_not_asked_for_what_its_line_says_it_cannot_do(asked, marks, left_out, monkeypatch):
    """It is left out of these tests before they run, and judged in what it can."""
    ties = ("ties split among winners",)
    narrow = Framework("lenet_numpy.port", "numpy", dtypes=("float32",), choices=ties)
    monkeypatch.setitem(FRAMEWORKS, "narrow", narrow)
    item: Any = SimpleNamespace(
        callspec=SimpleNamespace(params=asked), get_closest_marker=lambda mark: mark in marks
    )
    assert beyond(item) == left_out


def test_a_port_that_fails_when_it_is_opened_is_told_in_one_line(monkeypatch):
    def fail(port):
        raise TypeError("no such\nargument")

    monkeypatch.setattr("lenet_numpy.port.Port._setup", fail)
    with pytest.raises(Broken) as refusal:
        ports.open_port("numpy")
    said = "port 'numpy': lenet_numpy.port fails when it is opened (TypeError: no such argument)"
    assert one_line(refusal) == said


@pytest.mark.slow
def test_opening_a_port_imports_its_own_framework_alone():
    code = "import sys; from lenet.ports import open_port; open_port('numpy'); print(*sys.modules)"
    root = Path(__file__).parents[3]
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "lenet_numpy.port" in loaded
    assert not {"torch", "tensorflow", "keras", "jax", "lenet_torch", "lenet_tf", "lenet_jax"} & set(loaded)


@pytest.mark.parametrize("name", ["tf", "tf1", "litert", "onnx:tf/onnxruntime", "numpy"])
@pytest.mark.parametrize("there", [True, False])
def test_triton_is_imported_before_tensorflow_and_not_behind_it(there, name, open_port, monkeypatch):
    open_port(name)
    order, load = [], importlib.import_module

    def noted(module: str) -> Any:
        order.append(module)
        return load(module)

    monkeypatch.setattr(registry, "sys", SimpleNamespace(modules={"tensorflow"} if there else {}))
    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", noted)
        ports.open_port(name)
    module = ports.framework(name).module
    assert order[: 2 - there] == ([module] if there or name == "numpy" else ["triton", module])


@pytest.mark.slow
def test_jax_without_the_device_asked_for_is_refused_in_one_line(open_port):
    open_port("jax")
    code = """
import lenet.ports as p
from lenet.ports.registry import Broken
try:
    p.open_port("jax")
except Broken as refused:
    print(refused)
"""
    environment = {**os.environ, "JAX_PLATFORMS": "nonsense"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "it finds no device for JAX_PLATFORMS='nonsense': unset this variable" in run.stdout
    assert run.stdout.count("\n") == 1


# --- modes are what they are called ------------------------------------------------------------


@pytest.mark.slow
def test_torch_compile_hands_whole_graphs_to_inductor(open_port, params, few, monkeypatch):
    """A backend that runs each graph as it is, and keeps it, in the place of Inductor."""
    open_port("torch:compile")
    import torch

    graphs, compile = [], torch.compile

    def keep(graph: Any, inputs: Any) -> Any:
        graphs.append(graph.code)
        return graph.forward

    def recorded(function: Any, **options: Any) -> Any:
        assert options == {"fullgraph": True, "options": {"layout_optimization": False}}  # no way out
        return compile(function, backend=keep, fullgraph=True)  # the options are Inductor's

    monkeypatch.setattr(torch, "compile", recorded)
    for name, expected in (("torch", 0), ("torch:compile", 3)):  # logits, every layer, and with gradients
        port = ports.open_port(name)
        port.load(params)
        port.logits(few.images)
        port.activations(few.images)
        port.gradients(few.images, few.labels)
        assert len(graphs) == expected
    for code in graphs:
        assert [code.count(op) for op in ("conv2d(", "max_pool2d(", "linear(")] == [2, 2, 3]


MODES = [("tf", 2), ("tf:function", 1), ("tf:xla", 1), ("jax", 1), ("jax:eager", 2), ("tf1", 1)]


@pytest.mark.parametrize(("name", "runs"), MODES)
def test_an_eager_mode_runs_python_at_each_call_and_a_traced_one_once(
    name, runs, open_port, params, few, monkeypatch
):
    open_port(name)
    module: Any = importlib.import_module(ports.framework(name).module)
    seen = []
    activations = module.activations

    def counted(*args: Any) -> Any:
        seen.append(args)
        return activations(*args)

    monkeypatch.setattr(module, "activations", counted)
    port = ports.open_port(name)
    port.load(params)
    port.activations(few.images)
    port.activations(few.images)
    assert len(seen) == runs


def test_tf_xla_compiles_and_tf_function_does_not(open_port, few):
    compiled, traced = open_port("tf:xla"), open_port("tf:function")
    import tensorflow as tf

    images = tf.constant(few.images.transpose(0, 2, 3, 1))
    text = compiled._run_logits.experimental_get_compiler_ir(images)(stage="hlo")
    assert "HloModule" in text
    assert text.count("convolution") >= 2
    with pytest.raises(ValueError, match="jit_compile"):
        traced._run_logits.experimental_get_compiler_ir(images)


@pytest.mark.slow
def test_tf1_adds_nothing_to_its_graph_once_it_runs(open_port, params, few):
    """A call that builds is the classical leak: every call slower than the one before."""
    port, recipe, sizes = open_port("tf1"), Recipe(), []
    for _ in range(2):
        port.load(params)
        port.logits(few.images)
        port.activations(few.images)
        port.gradients(few.images, few.labels)
        port.backward(few.images, np.ones((3, 10)))
        list(port.train([Batch(few.images, few.labels, 0.1)], recipe))
        port.params()
        port.velocity()
        sizes.append(len(port._model.graph.get_operations()))
    assert sizes[0] == sizes[1] > 100


def test_tensorflow_without_its_first_version_is_one_line(monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "lenet_tf1"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorflow.compat.v1", None)
    with pytest.raises(
        MissingFramework, match=r"port 'tf1': tensorflow does not import \(.*compat\.v1"
    ) as refusal:
        ports.open_port("tf1")
    one_line(refusal)


def test_ports_that_only_look_forward_are_named_where_they_are_asked_for():
    assert set(ports.names()) < set(ports.names(forward_only=True))


def test_a_port_without_a_mode_may_need_further_packages():
    assert registry.needed("litert") == ["ai_edge_litert", "tensorflow"]


def test_each_part_of_a_mode_needs_its_packages(monkeypatch):
    line = replace(FRAMEWORKS["torch"], package="p", needs={"a": ("of_a", "too"), "c": ("of_c",)})
    monkeypatch.setattr(registry, "framework", lambda name: line)
    assert registry.needed("torch:a/b/c") == ["p", "of_a", "too", "of_c"]
    assert registry.needed("torch") == ["p"]
    with pytest.raises(MissingFramework, match=r"^port 'torch:a/c' needs p, of_a, too, of_c: "):
        registry.require("torch:a/c")
