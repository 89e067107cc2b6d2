"""Every planted bug is detected, located and named; and weak probes would not have seen them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from click.testing import CliRunner

from lenet import ports
from lenet.diagnose import Verdict, diagnose, probe_inputs
from lenet.diagnose.probe_inputs import Observed, Probe, Probes, observe_port
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.network.recipe import Batch
from lenet.ports import Port
from parity.errors import MissingFramework, UserError
from tests.conftest import unavailable
from workshop.bugs import BUGS, FAMILIES, Bug, find
from workshop.bugs.__main__ import README, main, table
from workshop.bugs.gallery import bug


def observed(port: Port, given: Probes, until: str = "step") -> Observed:
    """What a port returns, as far as the place where a mistake is expected: the diagnosis goes no further."""
    activations, gradients = probe_inputs.functions_of(port)
    forward = until in ("image", *ACTIVATION_SHAPES)
    with np.errstate(all="ignore"):
        seen = probe_inputs.observe(given, activations, None if forward else gradients, dtype=port.dtype)
        if until.startswith("step"):
            port.load(given.course.start)
            seen.trajectory = [port.params() for _ in port.train(given.course.batches, given.course.recipe)]
    return seen


def judged(planted: Bug, given: Probes) -> Verdict:
    """The verdict on the port of a bug."""
    try:
        with planted.planted() as port:
            seen = observed(port, given, planted.where)
    except MissingFramework as missing:
        unavailable(str(missing))
        raise
    return diagnose(given, seen)


@cache
def verdict(name: str) -> Verdict:
    """The verdict by the standard probes."""
    return judged(BUGS[name], probe_inputs.standard())


def explanations(found: Verdict) -> list[set[str]]:
    """For each finding, the names of all that would explain it."""
    return [
        {one.name for some in (finding.causes, *finding.alternatives) for one in some}
        for finding in found.findings
    ]


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_is_detected_where_it_is(name):
    assert verdict(name).first == BUGS[name].where


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_is_named(name):
    expected = {BUGS[name].named, *BUGS[name].coincides}
    names = explanations(verdict(name))
    assert all(BUGS[name].named in found for found in names), str(verdict(name))
    assert set().union(*names) == expected


def test_the_gallery_spreads_over_families_and_frameworks():
    assert len(BUGS) >= 42
    families = [family.__name__.rpartition(".")[2] for family in FAMILIES]
    assert {one.family for one in BUGS.values()} == set(families)
    assert all(sum(one.family == family for one in BUGS.values()) >= 5 for family in families)
    on = [one.port.partition(":")[0] for one in BUGS.values()]
    assert on.count("torch") >= 12
    assert on.count("tf") >= 5


@pytest.mark.parametrize("name", sorted({one.port for one in BUGS.values()}))
def test_a_port_is_right_again_when_the_bug_is_gone(name):
    first = next(one for one in BUGS.values() if one.port == name)
    assert verdict(first.name).findings
    seen = observed(ports.open_port(name), probe_inputs.standard(), first.where)
    assert diagnose(probe_inputs.standard(), seen).ok


RUNTIMES = [name for name in ports.names(forward_only=True) if name.startswith("onnx:numpy/")]


@pytest.mark.parametrize("name", RUNTIMES)
def test_no_false_alarm_on_a_port_that_only_runs(name, open_port):
    """Those that differentiate and train as well: `test_diagnose.py`."""
    port = open_port(name)
    assert diagnose(probe_inputs.standard(), observe_port(probe_inputs.standard(), port)).ok


# --- weak probes -------------------------------------------------------------------------------


def with_params(change: Callable[[str, np.ndarray], np.ndarray]) -> Callable[[Probes], Probes]:
    """The standard probes with other weights."""

    def altered(probe: Probe) -> Probe:
        return replace(probe, params={name: change(name, w) for name, w in probe.params.items()})

    return lambda given: replace(given, probes=tuple(map(altered, given.probes)))


def with_probes(change: Callable[[Probe], Probe]) -> Callable[[Probes], Probes]:
    """The standard probes, each of them changed."""
    return lambda given: replace(given, probes=tuple(map(change, given.probes)))


def with_batches(change: Callable[[list[Batch]], list[Batch]]) -> Callable[[Probes], Probes]:
    """The standard training run with other batches."""

    def altered(given: Probes) -> Probes:
        return replace(given, course=replace(given.course, batches=tuple(change(list(given.course.batches)))))

    return altered


def constant(name: str, w: np.ndarray) -> np.ndarray:
    """One value for every weight and every bias."""
    return np.full_like(w, 2.0**-5)


def one_channel(name: str, w: np.ndarray) -> np.ndarray:
    """A convolution that sees one channel of its input."""
    return w * (np.arange(w.shape[1]) == 0)[:, None, None].astype(w.dtype) if w.ndim == 4 else w


def symmetric(name: str, w: np.ndarray) -> np.ndarray:
    """Square kernels that are their own transpose."""
    return w + w.swapaxes(2, 3) if w.ndim == 4 else w


def gray(probe: Probe) -> Probe:
    """Images of one color."""
    return replace(probe, images=np.full_like(probe.images, 0.5))


def with_a_margin(probe: Probe) -> Probe:
    """Four rows and columns of paper around each digit, as MNIST has them."""
    images = np.zeros_like(probe.images)
    images[..., 4:-4, 4:-4] = probe.images[..., 4:-4, 4:-4]
    return replace(probe, images=images)


def alone(probe: Probe) -> Probe:
    """One digit."""
    return replace(probe, images=probe.images[:1], labels=probe.labels[:1])


def at_one_rate(batches: list[Batch]) -> list[Batch]:
    """A learning rate that never changes."""
    return [replace(batch, rate=batches[0].rate) for batch in batches]


def without_a_rest(batches: list[Batch]) -> list[Batch]:
    """Batches of one size."""
    return [batch for batch in batches if len(batch.labels) == len(batches[0].labels)]


LOUD = ("loud", "sure")


def quiet(given: Probes) -> Probes:
    """Logits as they are at the beginning of a training."""
    return replace(given, probes=tuple(probe for probe in given.probes if probe.name not in LOUD))


WEAK: dict[str, tuple[Callable[[Probes], Probes], list[str]]] = {
    "constant weights": (
        with_params(constant),
        ["true-convolution", "one-bias-for-all", "kernel-viewed"],
    ),
    "constant images": (with_probes(gray), ["flip-left-on", "header-as-pixels"]),
    "one channel": (with_params(one_channel), ["gray-images-only"]),
    "symmetric kernels": (with_params(symmetric), ["axes-reversed"]),
    "a batch of one": (
        with_probes(alone),
        ["divided-twice", "mean-in-the-loss-alone", "sum-for-mean", "labels-rolled"],
    ),
    "an empty margin": (with_probes(with_a_margin), ["reflected-border"]),
    "small logits": (quiet, ["softmax-as-in-the-book"]),
    "one learning rate": (with_batches(at_one_rate), ["rate-in-the-velocity", "schedule-a-step-late"]),
    "no short batch": (with_batches(without_a_rest), ["drop-last"]),
    "one step": (
        with_batches(lambda batches: batches[:1]),
        ["default-momentum", "zeroed-before-the-loop"],
    ),
}


@pytest.mark.parametrize(
    ("weak", "name"), [(weak, name) for weak, (_, names) in WEAK.items() for name in names]
)
def test_weak_probes_hide_what_ours_show(weak, name):
    assert judged(BUGS[name], WEAK[weak][0](probe_inputs.standard())).ok
    assert verdict(name).findings


# --- the table and the command -----------------------------------------------------------------


def test_the_table_is_up_to_date():
    assert README.read_text(encoding="utf-8") == table(), "python -m workshop.bugs --table"


def test_bugs_are_found_by_name_alone():
    assert find("drop-last") is BUGS["drop-last"]
    with pytest.raises(UserError, match=r"^no bug is called 'drop_last'; nearest: drop-last"):
        find("drop_last")
    with pytest.raises(UserError, match=r"^no bug is called '1'; `python -m workshop.bugs` lists them$"):
        find("1")


def test_two_bugs_of_one_name_are_refused():
    def drop_last(right: Callable) -> Callable:
        return right

    with pytest.raises(ValueError, match="two bugs are called 'drop-last'"):
        bug("another", "numpy", "lenet_numpy.model.relu", story="", where="", named="")(drop_last)


def test_the_command_lists_names_and_no_answers():
    listed = CliRunner().invoke(main, [])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == list(BUGS)
    assert not any(one.named in listed.output for one in BUGS.values() if one.named.count(" "))


def test_the_command_tells_what_is_wrong_and_why_only_when_asked():
    one = BUGS["paired-by-order"]
    question, answer = (CliRunner().invoke(main, [one.name, *more]) for more in ([], ["--answer"]))
    assert question.exit_code == answer.exit_code == 1
    assert question.output.startswith(f"{one.where}: ")
    assert one.named not in question.output
    assert one.named in answer.output
    assert one.story in answer.output


def test_the_command_refuses_an_unknown_bug_as_usage():
    refused = CliRunner().invoke(main, ["relu-inplace"])
    assert refused.exit_code == 2
    assert refused.output.startswith("error: no bug is called 'relu-inplace'; nearest: relu-in-place")
    assert len(refused.output.splitlines()) == 1
