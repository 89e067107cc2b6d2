"""What `lenet migrations` says of the ports is so, as far as code can tell."""

import itertools
import re

import numpy as np
import pytest

from lenet import ports
from lenet.network.architecture import PARAM_COUNT
from lenet.show.migrations import (
    ABOUT,
    FILES,
    ROOT,
    code_lines,
    fingerprint,
    folders,
    history,
    lines,
    migrate,
    migration_tables,
    permutation,
)
from tests.planted.ports import Planted, flipped_kernel

NAMES = list(folders())
SOURCE = '''"""Not a line
of code."""

# nor this
x = [
    1,  # one
]


def f():
    """Nor this."""
    return """two
lines"""
'''


def test_every_folder_has_its_history_and_the_oldest_comes_first():
    packages = {line.module.partition(".")[0] for line in ports.FRAMEWORKS.values()}
    assert set(folders().values()) == packages - {"export"}
    years = [history()[name].released for name in NAMES]
    assert years == sorted(years)
    frameworks = [one.framework for one in history().values()]
    assert len(set(frameworks)) == len(frameworks), "an about.toml was copied and not rewritten"


@pytest.mark.parametrize("name", NAMES)
def test_the_package_says_when_its_framework_came(name):
    text = (ROOT / folders()[name] / "__init__.py").read_text(encoding="utf-8")
    year = history()[name].released
    assert str(year) in text, f"name {year}, the year in about.toml, in the docstring of {folders()[name]}"


def test_a_permutation_is_named_and_anything_else_refused():
    x = np.arange(24.0).reshape(2, 3, 4)
    for order in itertools.permutations(range(3)):
        named = "".join("ABC"[axis] for axis in order)
        assert permutation("ABC", x, x.transpose(order)) == named
        assert permutation("ABC", x, x.transpose(order).ravel()) == named
    assert permutation(("out", "in"), x[0], x[0].T) == "(in, out)"
    assert permutation(("out", "in"), x[0], x[0]) == "(out, in)"
    for wrong in (x[::-1], x.reshape(4, 3, 2), x[:1], x + 1):
        with pytest.raises(ValueError, match="no permutation"):
            permutation("ABC", x, wrong)


def test_lines_are_code_alone(tmp_path):
    source, text = tmp_path / "some.py", tmp_path / "some.prototxt"
    source.write_text(SOURCE)
    text.write_text("# comment\n\nlayer {\n  name: 1 # one\n}\n")
    assert (code_lines(source), code_lines(text)) == (6, 3)


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_counted_in_every_file_of_the_folder(name):
    assert list(lines(name)) == [*FILES, "beside"]
    every = [path for path in (ROOT / folders()[name]).iterdir() if path.is_file() and path.name != ABOUT]
    assert sum(lines(name).values()) == sum(map(code_lines, every))


@pytest.mark.parametrize("name", NAMES)
def test_every_port_has_the_parameters_and_the_bits_of_numpy(name, open_port):
    open_port(name)
    found = migrate(name)
    assert found.parameters == PARAM_COUNT
    assert found.fingerprint == fingerprint(open_port("numpy"))
    assert found.layouts is not None
    assert (found.layouts.flatten == "HWC") == (found.layouts.images == "NHWC")


def test_a_wrong_port_has_other_bits(open_port):
    wrong = fingerprint(Planted("conv2", flipped_kernel))
    assert wrong != fingerprint(open_port("numpy"))


@pytest.mark.slow
def test_the_page_of_the_docs_is_up_to_date(open_port):
    for name in NAMES:
        open_port(name)
    page = migration_tables.markdown([migrate(name) for name in NAMES])
    assert (ROOT / "docs" / "migrations.md").read_text(encoding="utf-8") == page


# --- what about.toml says of optimizers and initialization, against the frameworks ---------------

DECAY, MOMENTUM = 0.25, 0.5  # dyadic, as are the gradients and rates: three steps round nothing
START, GRADIENTS, RATES = 1.0, (0.5, -2.0, 1.5), (0.25, 0.25, 0.03125)


def by_formula(text: str) -> list[float]:
    """The weight after each step, by a rule as `about.toml` writes it: "v ← …; w ← …"."""
    rules = [rule.split(" ← ") for rule in text.replace("·", "*").replace("−", "-").split("; ")]
    assert [target for target, _ in rules] == ["v", "w"]
    state, path = {"w": START, "v": 0.0}, []
    for g, rate in zip(GRADIENTS, RATES, strict=True):
        for target, rule in rules:
            assert re.fullmatch(r"[gvwημ*+ -]+", rule)
            state[target] = eval(rule, {"g": g, "η": rate, "μ": MOMENTUM, **state})
        path.append(state["w"])
    return path


def by_torch(decay: float = 0.0) -> list[float]:
    import torch

    w = torch.nn.Parameter(torch.tensor(START))
    sgd, path = torch.optim.SGD([w], momentum=MOMENTUM, weight_decay=decay), []
    for g, rate in zip(GRADIENTS, RATES, strict=True):
        sgd.param_groups[0]["lr"] = rate
        w.grad = torch.tensor(g)
        sgd.step()
        path.append(w.item())
    return path


def by_keras(decay: float | None = None) -> list[float]:
    import keras

    w = keras.Variable(START)
    sgd, path = keras.optimizers.SGD(momentum=MOMENTUM, weight_decay=decay), []
    for g, rate in zip(GRADIENTS, RATES, strict=True):
        sgd.learning_rate = rate
        sgd.apply([keras.ops.convert_to_tensor(g)], [w])
        path.append(float(w.numpy()))
    return path


def by_tf1() -> list[float]:
    import tensorflow as tf

    v1, path = tf.compat.v1, []
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", initializer=tf.constant(START))
        g, rate = v1.placeholder(tf.float32, ()), v1.placeholder(tf.float32, ())
        step = v1.train.MomentumOptimizer(rate, MOMENTUM).apply_gradients([(g, w)])
        session.run(v1.global_variables_initializer())
        for value, now in zip(GRADIENTS, RATES, strict=True):
            session.run(step, {g: value, rate: now})
            path.append(float(session.run(w)))
    return path


def by_caffe() -> list[float]:
    from lenet_caffe.train import SGD

    params, path = {"w": np.array(START)}, []
    sgd = SGD(MOMENTUM, 0.0, {"w": np.zeros(())})
    for g, rate in zip(GRADIENTS, RATES, strict=True):
        sgd.step(params, {"w": np.array(g)}, rate)
        path.append(float(params["w"]))
    return path


def by_optax(decay: float = 0.0) -> list[float]:
    import jax.numpy as jnp
    import optax
    from flax import nnx

    w = nnx.Dict(w=nnx.Param(jnp.array(START)))
    sgd = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0, momentum=MOMENTUM)
    optimizer, path = nnx.Optimizer(w, optax.chain(optax.add_decayed_weights(decay), sgd), wrt=nnx.Param), []
    for g, rate in zip(GRADIENTS, RATES, strict=True):
        optax.tree.get(optimizer.opt_state, "learning_rate")[...] = rate
        optimizer.update(w, nnx.State({"w": nnx.Param(jnp.array(g))}))
        path.append(float(w["w"][...]))
    return path


NATIVE = {"torch": by_torch, "tf": by_keras, "tf1": by_tf1, "caffe": by_caffe, "flax": by_optax}


@pytest.mark.slow
@pytest.mark.parametrize("name", NATIVE)
def test_momentum_is_the_frameworks_own_rule(name, open_port):
    open_port(name)
    assert NATIVE[name]() == by_formula(history()[name].momentum)


def test_a_rate_drop_tells_the_two_rules_of_momentum_apart():
    rules = {one.momentum for one in history().values()} - {"none"}
    paths = [by_formula(rule) for rule in rules]
    assert len({tuple(path[:2]) for path in paths}) == 1  # while the rate stands they are the same
    assert len({path[2] for path in paths}) == 2


@pytest.mark.slow
def test_weight_decay_is_in_the_gradient_in_torch_and_optax_and_beside_it_in_keras(open_port):
    for name in ("torch", "tf", "flax"):
        open_port(name)
    assert history()["flax"].weight_decay.endswith("L2: g + λ·w")
    assert by_optax(DECAY) == by_torch(DECAY)
    assert history()["torch"].weight_decay.startswith("L2: g + λ·w")
    assert history()["tf"].weight_decay == "decoupled: w ← w − η·λ·w"
    w, v = START, 0.0
    for g, rate, found in zip(GRADIENTS, RATES, by_torch(DECAY), strict=True):
        v = MOMENTUM * v + g + DECAY * w
        w -= rate * v
        assert found == w
    w, v = START, 0.0
    for g, rate, found in zip(GRADIENTS, RATES, by_keras(DECAY), strict=True):
        w -= rate * DECAY * w
        v = MOMENTUM * v - rate * g
        w += v
        assert found == w


@pytest.mark.slow
def test_initialization_is_the_frameworks_default(open_port):
    """Uniform numbers fill their range: of 100,000, the largest lies within a thousandth of its end."""
    for name in ("torch", "tf", "flax"):
        open_port(name)
    import keras
    import tensorflow as tf
    import torch
    from flax import nnx

    fan_in, fan_out = 400, 250
    glorot = (6 / (fan_in + fan_out)) ** 0.5
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    linear, dense = torch.nn.Linear(fan_in, fan_out), keras.layers.Dense(fan_out)
    assert 0.999 < linear.weight.abs().max().item() * fan_in**0.5 <= 1
    assert 0.9 < linear.bias.abs().max().item() * fan_in**0.5 <= 1  # of 250
    dense.build((None, fan_in))
    assert 0.999 < np.abs(dense.kernel.numpy()).max() / glorot <= 1
    assert not dense.bias.numpy().any()
    of_flax = nnx.Linear(fan_in, fan_out, rngs=nnx.Rngs(0))
    cut_off = (
        np.abs(of_flax.kernel).max() * fan_in**0.5 * 0.8796256610342398
    )  # 2, and its σ without the tails
    assert 1.99 < cut_off <= 2.001
    assert abs(np.std(of_flax.kernel) * fan_in**0.5 - 1) < 0.01
    assert not np.any(of_flax.bias)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(0)
        kernel = v1.get_variable("w", (fan_in, fan_out))
        session.run(v1.global_variables_initializer())
        assert 0.999 < np.abs(session.run(kernel)).max() / glorot <= 1
