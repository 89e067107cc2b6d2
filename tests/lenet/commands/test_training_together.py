"""`lenet train` and its bar; `--compare` with all ports in this process, not in some of their own."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lenet.commands import train as command
from lenet.commands import training_apart
from lenet.commands.training_apart import Away, Here, PortEnded
from lenet.network import digits as mnist
from lenet.network.recipe import Recipe
from lenet.ports import lockstep, open_port, training
from lenet.ports.exact_training import ExactRecipe
from lenet.ports.workers import SPAWN, Died
from lenet.show import plots
from parity.errors import MissingFramework
from tests.lenet.commands.running import failed

RECIPE = Recipe(batch_size=10, schedule="drop")


class Near:
    """In place of the process of a framework: answers from here, in the order that was asked."""

    def __init__(self, *given, context=None) -> None:
        self.name, self.kind, *self.given = given
        self.context = context
        self.here = Here(*self.given)
        self.asked: list[tuple] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, method: str, *arguments) -> None:
        self.asked.append((method, *arguments))

    def answer(self):
        method, *arguments = self.asked.pop(0)
        return getattr(self.here, method)(*arguments)


@pytest.fixture
def near(monkeypatch) -> list[Near]:
    """The processes that would have been started."""
    started: list[Near] = []

    def start(*given, context):
        started.append(Near(*given, context=context))
        return started[-1]

    monkeypatch.setattr(training_apart, "Process", start)
    return started


def test_there_is_a_process_for_each_framework_and_its_ports_step_in_it(near, digits):
    dtypes = ("float32", "float64")
    with training_apart.apart(["numpy", "numpy:fast"], dtypes, digits[:20], RECIPE, 3) as others:
        opened = [others.open(name, dtype) for dtype in dtypes for name in ("numpy", "numpy:fast")]
        steps = list(others.train(opened[:2]))
    (process,) = near
    assert (process.name, process.kind, process.context) == ("numpy", Here, SPAWN)
    assert (len(process.given[0]), *process.given[1:]) == (20, RECIPE, 3)
    assert [(one.name, one.dtype) for one in opened] == [
        ("numpy", "float32"),
        ("numpy:fast", "float32"),
        ("numpy", "float64"),
        ("numpy:fast", "float64"),
    ]
    assert len(steps) == 3
    for place, name in enumerate(("numpy", "numpy:fast")):
        alone = lockstep.run(open_port(name, "float32"), digits[:20], RECIPE, 3)
        for (loss, params), (right_loss, right) in zip((step[place] for step in steps), alone, strict=True):
            assert loss == right_loss
            for key, array in right.items():
                np.testing.assert_array_equal(params[key], array)


def test_while_a_step_is_looked_at_the_next_is_computed(near, digits):
    with training_apart.apart(["numpy"], ("float32",), digits[:20], RECIPE, 2) as others:
        steps = others.train([others.open("numpy", "float32")])
        next(steps)
        assert near[0].asked == [("step", "numpy", "float32")]
        next(steps)
        assert near[0].asked == []
        assert next(steps, None) is None


def test_a_port_that_cannot_be_opened_or_ends_its_process_is_named(near, digits, monkeypatch):
    def refuses(name, dtype):
        raise MissingFramework(f"{name} is not installed")

    monkeypatch.setattr(training_apart, "open_port", refuses)
    with (
        training_apart.apart(["numpy"], ("float32",), digits[:20], RECIPE, 1) as others,
        pytest.raises(MissingFramework, match="numpy is not installed"),
    ):
        others.open("numpy", "float32")

    def dies():
        raise Died("numpy", "by signal SIGABRT")

    port = Away("numpy", "float32", SimpleNamespace(answer=dies))  # type: ignore[arg-type]
    with pytest.raises(PortEnded, match=r"^port 'numpy' ended the process by signal SIGABRT$") as death:
        port.answer()
    assert death.value.port == "numpy"


# --- lenet train --compare ---------------------------------------------------------------------

COMPARED = ["train", "numpy", "numpy:fast", "--compare", 3, "--batch-size", 10, "--seed", 4]


@pytest.fixture
def drawn(monkeypatch) -> list[tuple]:
    """What the plots are given, in place of plots."""
    given: list[tuple] = []
    monkeypatch.setattr(plots, "drift", lambda *arguments: given.append(arguments))
    return given


@pytest.fixture
def quick(monkeypatch, digits) -> mnist.Digits:
    """Forty digits for the test set, and forty others for the training set in the folder `here`."""
    monkeypatch.setattr(mnist, "test_set", lambda: digits[:40])
    monkeypatch.setattr(mnist, "training_set", lambda folder: {Path("here"): digits[40:80]}[folder])
    monkeypatch.setattr(command, "share_cores", lambda mode: None)
    return digits[:40]


def test_ports_are_compared_with_numpy_in_float64_step_by_step(in_process, quick, near, drawn, bar):
    result = in_process(*COMPARED)
    recipe = Recipe(seed=4, batch_size=10, epochs=1, schedule="drop")
    ports = [open_port(name, d) for d in ("float32", "float64") for name in ("numpy", "numpy:fast")]
    right = lockstep.lockstep(open_port("numpy", "float64"), [*ports[:2], ports[3]], quick, recipe, 3)
    ((path, labels, distances, drop),) = drawn
    assert labels == ["numpy float32", "numpy:fast float32", "numpy:fast float64"]
    np.testing.assert_array_equal(distances, right.distances)
    assert (path, drop) == (Path("drift.png"), 2)  # of four steps
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("float32: largest distance of a weight from NumPy in float64, relative\n")
    assert f"{right.distances[2, 0]:.1e}" in result.stdout
    assert result.stdout.endswith("\n\ndrift.png: the plot\n")
    steps = [seen for seen in bar.seen if seen[0] == "training in lockstep"]
    assert steps == [("training in lockstep", f"{done} of 3") for done in range(4)]


def test_digits_of_a_folder_and_several_epochs_are_compared(in_process, quick, near, drawn, digits):
    arguments = ["--data", "here", "--out", "p.svg", "--compare", 9]
    assert in_process(*COMPARED, *arguments).exit_code == 0
    recipe = Recipe(seed=4, batch_size=10, epochs=3, schedule="drop")
    assert [process.given[1] for process in near] == [recipe]
    np.testing.assert_array_equal(near[0].given[0].images, digits[40:80].images)
    ((path, _, distances, drop),) = drawn
    assert (path, len(distances), drop) == (Path("p.svg"), 9, 6)


def test_a_port_that_ends_its_process_is_left_out_and_the_others_go_on(
    in_process, quick, near, drawn, monkeypatch
):
    real = Near.answer

    def dies(self):
        if self.asked[0][:2] == ("step", "numpy:fast"):
            raise Died("numpy:fast", "with exit code 7")
        return real(self)

    monkeypatch.setattr(Near, "answer", dies)
    result = in_process(*COMPARED)
    assert (result.exit_code, len(near)) == (1, 2)
    assert result.stderr == "left out: numpy:fast: port 'numpy:fast' ended the process with exit code 7\n"
    assert drawn[0][1] == ["numpy float32"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("out", "said"), [("p.txt", "plots are written as png, svg, pdf"), ("no/p.png", "cannot be written")]
)
def test_a_plot_that_cannot_be_written_is_refused_before_the_training(out, said, in_process, near):
    assert said in failed(in_process(*COMPARED, "--out", out))
    assert not near


# --- the bar -----------------------------------------------------------------------------------


def test_the_bar_of_a_training_run_shows_the_loss_and_the_accuracy_of_each_epoch(
    in_process, mini, bar, monkeypatch
):
    monkeypatch.setattr(training, "accuracy", lambda model, tests: 0.125)
    arguments = ["--digits", 20, "--batch-size", 10, "--epochs", 2]
    losses = []
    real = training.Port.train

    def noted(self, batches, recipe):
        for loss in real(self, batches, recipe):
            losses.append(f"loss {loss:.4f}")
            yield loss

    monkeypatch.setattr(training.Port, "train", noted)
    bar.disable = False
    monkeypatch.setattr(bar, "start", lambda: None)
    monkeypatch.setattr(bar, "stop", lambda: None)
    result = in_process("train", "numpy", *arguments)
    assert result.stdout == "numpy.safetensors: 12.50% of the 200 test digits right\n"
    assert bar.seen == [
        ("importing numpy", "0 of 4", ""),
        ("training numpy", "0 of 4", ""),
        ("training numpy", "1 of 4", losses[0]),
        ("training numpy", "2 of 4", f"{losses[1]}, 12.50% right"),
        ("training numpy", "3 of 4", f"{losses[2]}, 12.50% right"),
        ("training numpy", "4 of 4", f"{losses[3]}, 12.50% right"),
    ]


def test_the_bar_of_exact_training_shows_the_loss(in_process, mini, bar, monkeypatch):
    def train(port, digits, recipe, follow):
        assert (port.name, len(digits)) == ("numpy", len(mini))
        follow(7, 0.5)
        return "params"

    def write_weights(out, params, port, recipe, digits):
        assert (out, params, port.name, len(digits)) == (Path("o"), "params", "numpy", len(mini))
        return {"test_accuracy": "0.5", "bits_every_image": "23.75"}

    monkeypatch.setattr("lenet.ports.exact_training.train", train)
    monkeypatch.setattr("lenet.ports.exact_training.write_weights", write_weights)
    result = in_process("exact", "--train", "o")
    assert result.stdout == (
        "o: 50.00% of the test digits right; sums need at most 23.75 bits for every image\n"
    )
    steps = ExactRecipe().steps(len(mini))
    assert bar.seen == [
        ("training on the grid", f"0 of {steps}", ""),
        ("training on the grid", f"7 of {steps}", "loss 0.5000"),
    ]


def test_a_process_that_ended_before_is_told_with_what_was_kept(in_process, monkeypatch, tmp_path):
    death = SimpleNamespace(how="by signal SIGABRT")
    monkeypatch.setattr(command, "go_on", lambda: death)
    said = "error: port 'numpy:fast' ended the process by signal SIGABRT; "
    assert failed(in_process("train", "numpy:fast")) == f"{said}nothing was kept\n"
    (tmp_path / "numpy-fast.safetensors.checkpoint").write_text("")
    kept = "the same command continues from numpy-fast.safetensors.checkpoint\n"
    assert failed(in_process("train", "numpy:fast")) == said + kept
