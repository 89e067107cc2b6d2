"""Judges the forward pass of a port layer by layer, and explains each wrong layer."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from lenet.diagnose.findings import VALID, Diagnosis, Finding, deviation
from lenet.diagnose.looks import plain_outputs
from lenet.diagnose.looks.accuracy import beyond_noise, is_rounding, less_than_right
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.handed_out import OTHER_AXES
from lenet.diagnose.mistakes.precision import FLOAT64
from lenet.diagnose.mistakes.wrong_forward import Change, Changes
from lenet.diagnose.probe_inputs import Observed, Probes
from lenet.diagnose.search.explain import Match, generic, single_matches, stages_between, tells_apart
from lenet.diagnose.search.segment import Sample, Segment, fits
from lenet.diagnose.search.two_mistakes import Clock, pair_matches
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.reference.forward import reference
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT32, FORMATS
from parity.errors import UserError
from parity.judging.causes.clues import clues
from parity.judging.causes.of_rounding.shortened import are_in


def findings(probes: Probes, observed: Observed, clock: Clock | None = None) -> list[Finding]:
    """Every wrong place of the forward pass, in order of execution, and every place that is undecided.

    Args:
        clock: ends the search for pairs of mistakes.

    Raises:
        UserError: a layer's name is unknown, or nothing was returned.
    """
    layers = observed_layers(probes, observed)
    if not (layers or observed.gradients or observed.trajectory):
        raise UserError("nothing to judge: the port returned no layer, no gradient and no training step")
    clock = clock or Clock()
    found: list[Finding] = []
    place, pending = "", dict[str, Change]()
    starts = tuple(_exact(probe.images) for probe in probes.forward)
    for k, name in enumerate(layers):
        if problem := _shapeless(probes, observed, name):
            found.append(problem)
            break  # the next layer cannot take an array with other axes, or without digits
        segment = _segment(probes, observed, place, name, starts, pending)
        place, pending = name, {k: v for k, v in pending.items() if k not in segment.stages}
        starts = tuple(_exact(sample.seen) for sample in segment.samples)
        if is_rounding(segment):
            found += _widened(probes, observed, name, found)
            continue
        if plain := plain_outputs.constant(segment):
            found.append(_plain(segment, plain))
            continue
        finite = all(np.isfinite(start.value).all() for start in starts)
        matches = single_matches(segment)
        if not matches and (less := less_than_right(segment)):
            found.append(less)
            continue
        if not matches and finite and (plain := plain_outputs.repeated_or_cut_off(segment)):
            found.append(_plain(segment, plain))
            continue
        if not matches and finite and segment.mendable:
            matches = pair_matches(segment, clock)
        if not matches and (plain := plain_outputs.not_finite(segment)):
            found.append(_plain(segment, plain))
            break
        matches = _that_go_on(matches, probes, observed, name, layers[k + 1 :])
        matches = _as_before(matches, found)
        found.append(_finding(segment, matches))
        if matches:
            pending = {**pending, **matches[0].pending}
            starts = tuple(_exact(start) for start in matches[0].starts)
        if not finite:
            break  # after a NaN, nothing can be judged
    return found


def rounded_layers(probes: Probes, observed: Observed, decided: bool = False) -> list[str]:
    """Layers of a right forward pass that fit only if a sum rounds that should be exact.

    Args:
        decided: leave out those of which the verdict is "undecided".
    """
    place, starts, found = "", tuple(_exact(probe.images) for probe in probes.forward), list[str]()
    for name in observed_layers(probes, observed):
        segment = _segment(probes, observed, place, name, starts, {})
        place, starts = name, tuple(_exact(sample.seen) for sample in segment.samples)
        if not segment.is_right and (not decided or is_rounding(segment)):
            found.append(name)
    return found


def notes(probes: Probes, observed: Observed) -> list[str]:
    """Remarks on a right forward pass: deviations that are no mistakes."""
    said = dict[str, None]()
    for name in rounded_layers(probes, observed, decided=True):
        said[ROUNDED_ONCE_MORE.format(name=name)] = None
    for probe in probes.asked:
        if probe.judged or probe.name not in observed.activations:
            continue
        right = reference(probe.params, probe.images, observed.dtype)
        for name, array in observed.activations[probe.name].items():
            value, seen = right[name].value, np.asarray(array)
            tiny = float(np.finfo(observed.dtype).tiny)
            # Below tiny · 2^-10 the products that underflow may add up to zero by themselves.
            small = (np.abs(value) < tiny) & (np.abs(value) > tiny * 2.0**-10)
            if seen.shape == value.shape and small.any() and not seen[small].any():
                said[FLUSHED] = None
    return list(said)


ROUNDED_ONCE_MORE = (
    "{name} is off by a rounding error where the direct computation is exact: its weights or products were "
    "computed through other numbers (weight norm, FFT)"
)
FLUSHED = "denormals (numbers below 1.2e-38) are set to zero; no weights or pixels in use are so small"


def observed_layers(probes: Probes, observed: Observed) -> list[str]:
    """The layers that the port returned on every probe, in order of execution."""
    answers = [observed.activations.get(probe.name, {}) for probe in probes.forward]
    unknown = {name for answer in answers for name in answer} - ACTIVATION_SHAPES.keys()
    if unknown:
        raise UserError(f"no layer is called {min(unknown)!r}; expected {', '.join(ACTIVATION_SHAPES)}")
    return [name for name in ACTIVATION_SHAPES if all(name in answer for answer in answers)]


def _shapeless(probes: Probes, observed: Observed, name: str) -> Finding | None:
    """A finding on a layer with the wrong number of axes or without digits; None if its shape can be used."""
    for probe in probes.forward:
        shape, wanted = observed.activations[probe.name][name].shape, ACTIVATION_SHAPES[name]
        if len(shape) != len(wanted) + 1 or not shape[0]:
            evidence = f"{name} has shape {shape}, expected {(len(probe.images), *wanted)}"
            same = len(shape) > 1 and shape[0] == len(probe.images) and prod(shape[1:]) == prod(wanted)
            return Finding(name, evidence, (Diagnosis.of(OTHER_AXES, (name,)),) if same else ())
    return None


def _exact(values: Array) -> Bounded:
    wide = np.asarray(values).astype(np.float64)
    return Bounded(wide, np.zeros(wide.shape))


def _segment(
    probes: Probes,
    observed: Observed,
    place: str,
    target: str,
    starts: tuple[Bounded, ...],
    pending: Changes,
) -> Segment:
    samples = tuple(
        Sample(x, observed.activations[probe.name][target].astype(np.float64), _wide(probe.params))
        for probe, x in zip(probes.forward, starts, strict=True)
    )
    return Segment(stages_between(place, target), samples, observed.dtype, pending)


def _wide(params: Mapping[str, Array]) -> dict[str, Array]:
    return {name: w.astype(np.float64) for name, w in params.items()}


def _that_go_on(
    matches: list[Match], probes: Probes, observed: Observed, name: str, rest: list[str]
) -> list[Match]:
    """Keep the explanations under which the later layers also fit. If there are none, keep those that change
    no later layer."""
    claimed = [stage for match in matches for stage in match.pending]
    last = next((k for k, after in enumerate(rest) if _reached(after, claimed)), len(rest) - 1)
    good = [match for match in matches if _goes_on(match, probes, observed, name, rest[: last + 1])]
    return good or [match for match in matches if not match.pending]


def _as_before(matches: list[Match], found: list[Finding]) -> list[Match]:
    """The explanations by mistakes that an earlier layer shows too, if there are any: one mistake that was
    made twice is simpler than two."""
    names = {cause.name for finding in found for cause in finding.causes}
    return [one for one in matches if {kind.name for kind, _ in one.kinds} <= names] or matches


def _reached(layer: str, stages: list[str]) -> bool:
    order = list(ACTIVATION_SHAPES)
    return all(order.index(stage) <= order.index(layer) for stage in stages)


def _goes_on(match: Match, probes: Probes, observed: Observed, name: str, rest: list[str]) -> bool:
    """Whether the layers `rest` are right if this explanation is true."""
    starts, pending = tuple(_exact(start) for start in match.starts), match.pending
    for after in rest:
        segment = _segment(probes, observed, name, after, starts, pending)
        if not segment.is_right:
            return False
        starts = tuple(_exact(sample.seen) for sample in segment.samples)
        pending = {stage: c for stage, c in pending.items() if stage not in segment.stages}
        name = after
    return True


def _widened(probes: Probes, observed: Observed, name: str, before: list[Finding]) -> list[Finding]:
    """A valid choice: a layer of a float32 port is right and holds float64 values. It is told once."""
    if observed.dtype != "float32" or any(one.verdict == VALID for one in before):
        return []
    if not any(_is_wide(observed.activations[probe.name][name]) for probe in probes.forward):
        return []
    evidence = f"{name} is float64, and its values do not fit into float32"
    return [Finding(name, evidence, (Diagnosis.of(FLOAT64, (name,)),), verdict=VALID)]


def _is_wide(values: Array) -> bool:
    return values.dtype == np.float64 and not are_in(values, FLOAT32)


def _plain(segment: Segment, plain: tuple[Kind, str]) -> Finding:
    kind, evidence = plain
    return Finding(segment.target, evidence, (Diagnosis.of(kind, (segment.target,)),))


def _finding(segment: Segment, matches: list[Match]) -> Finding:
    evidence = _evidence(segment)
    if not matches:
        return Finding(segment.target, evidence, clues=_clues(segment))
    first, *others = (tuple(Diagnosis.of(kind, where) for kind, where in match.kinds) for match in matches)
    places = {_first_place(segment, match) for match in matches}
    where = places.pop() if len(places) == 1 else segment.target
    return Finding(where, evidence, first, tuple(others), _apart(segment, matches) if others else "")


def _first_place(segment: Segment, match: Match) -> str:
    """The first stage of the segment that an explanation touches."""
    inside = {name for _, stages in match.kinds for name in stages}
    return next((name for name in segment.stages if name in inside), segment.target)


def _evidence(segment: Segment) -> str:
    """The deviation at the segment's last layer, in one line."""
    for sample, states in zip(segment.samples, segment.right, strict=True):
        seen, name = sample.seen, segment.target
        if np.isfinite(seen).all() and len(states) <= len(segment.stages):
            return f"{name} has shape {seen.shape}, after a layer whose shape does not fit"
        if not np.isfinite(seen).all() or not fits(seen, states[-1], segment.dtype):
            return deviation(name, seen, states[-1]) + _coarser(segment)
    return f"{segment.target}: {beyond_noise(segment)}"


def _clues(segment: Segment) -> tuple[str, ...]:
    """What can be said of an unknown mistake: a factor, another order, which part is wrong."""
    for sample, states in zip(segment.samples, segment.right, strict=True):
        good = len(states) > len(segment.stages) and states[-1].value.shape == sample.seen.shape
        if good and not fits(sample.seen, states[-1], segment.dtype):
            with np.errstate(all="ignore"):
                return tuple(clues(sample.seen, states[-1], FORMATS[segment.dtype]))
    return ()


def _coarser(segment: Segment) -> str:
    """A remark if values of a float64 port fit float32's bounds; otherwise ""."""
    coarse = replace(segment, dtype="float32")
    within = segment.dtype == "float64" and coarse.is_right
    return "; all lie within float32's bound: something was computed in float32" if within else ""


def _apart(segment: Segment, matches: list[Match]) -> str:
    """The input that tells the first two explanations apart, found by trying several."""
    one, two = matches[0].changes, matches[1].changes
    random = generic(segment)
    if not one or not two:
        return "the layers that follow, if the port returns them"
    if tells_apart(random, one, two):
        weights_only = generic(segment)
        given = weights_only.samples[0]
        own = segment.samples[0]
        images = Sample(own.x, given.seen, given.params)
        if tells_apart(Segment(segment.stages, (images,), segment.dtype, segment.base), one, two):
            return "the same images with random weights"
        pixels = Sample(given.x, given.seen, own.params)
        if tells_apart(Segment(segment.stages, (pixels,), segment.dtype, segment.base), one, two):
            return "random images with the same weights"
        return "random images with random weights"
    return "no input: both are the same function of the layers returned here; return the layers between them"
