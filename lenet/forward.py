"""The forward pass of a port, judged layer by layer, and each wrong layer explained."""

from collections.abc import Mapping

import numpy as np

from lenet.errors import LenetError
from lenet.findings import Diagnosis, Finding
from lenet.mistakes.network import Change, Changes
from lenet.mistakes.precision import FLOAT64, single
from lenet.probes import Observed, Probes
from lenet.rounding import Array, Bounded
from lenet.search import (
    Match,
    Sample,
    Segment,
    fits,
    generic,
    pair_matches,
    single_matches,
    stages_between,
    tells_apart,
)
from lenet.spec import ACTIVATION_SHAPES


def findings(probes: Probes, observed: Observed) -> list[Finding]:
    """Every wrong place of the forward pass, in order of execution.

    Raises:
        LenetError: a layer's name is unknown, or the probes were not all answered alike.
    """
    layers = observed_layers(probes, observed)
    if not (layers or observed.gradients or observed.trajectory):
        raise LenetError("nothing to judge: the port handed out no layer, no gradient and no training step")
    found: list[Finding] = []
    place, pending = "", dict[str, Change]()
    starts = tuple(_exact(probe.images) for probe in probes.forward)
    for name, after in zip(layers, [*layers[1:], None], strict=False):  # None behind the last
        segment = _segment(probes, observed, place, name, starts, pending)
        place, pending = name, {k: v for k, v in pending.items() if k not in segment.stages}
        starts = tuple(_exact(sample.seen) for sample in segment.samples)
        if segment.is_right:
            found += _widened(probes, observed, name, found)
            continue
        finite = all(np.isfinite(start.value).all() for start in starts)
        matches = single_matches(segment) or (pair_matches(segment) if finite else [])
        matches = _that_go_on(matches, probes, observed, name, after)
        found.append(_finding(segment, matches))
        if matches:
            pending = {**pending, **matches[0].pending}
            starts = tuple(_exact(start) for start in matches[0].starts)
        if not finite:
            break  # nothing can be judged behind a NaN
    return found


def observed_layers(probes: Probes, observed: Observed) -> list[str]:
    """The layers handed out on every probe, in order of execution."""
    answers = [observed.activations.get(probe.name, {}) for probe in probes.forward]
    unknown = {name for answer in answers for name in answer} - ACTIVATION_SHAPES.keys()
    if unknown:
        raise LenetError(f"no layer is called {min(unknown)!r}; expected {', '.join(ACTIVATION_SHAPES)}")
    return [name for name in ACTIVATION_SHAPES if all(name in answer for answer in answers)]


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
    matches: list[Match], probes: Probes, observed: Observed, name: str, after: str | None
) -> list[Match]:
    """Of several explanations, those that make the next observed layer right; if none does, all without
    a claim on it."""
    if after is None or not matches:
        return matches
    good = []
    for match in matches:
        starts = tuple(_exact(start) for start in match.starts)
        if _segment(probes, observed, name, after, starts, match.pending).is_right:
            good.append(match)
    return good or [match for match in matches if not match.pending]


def _widened(probes: Probes, observed: Observed, name: str, before: list[Finding]) -> list[Finding]:
    """Whether a layer of a float32 port is right and has more digits than float32, the first time."""
    if observed.dtype != "float32" or any(f.causes and f.causes[0].name == FLOAT64.name for f in before):
        return []
    for probe in probes.forward:
        values = observed.activations[probe.name][name]
        if values.dtype == np.float64 and (single(values) != values).any():
            evidence = f"{name} is float64, and its values do not fit into float32"
            return [Finding(name, evidence, (Diagnosis.of(FLOAT64, (name,)),))]
    return []


def _finding(segment: Segment, matches: list[Match]) -> Finding:
    evidence = _evidence(segment)
    if not matches:
        return Finding(segment.target, evidence)
    first, *others = (tuple(Diagnosis.of(kind, where) for kind, where in match.kinds) for match in matches)
    where = segment.target
    inside = [name for _, stages in matches[0].kinds for name in stages if name in segment.stages]
    if inside and not others:
        where = min(inside, key=segment.stages.index)
    return Finding(where, evidence, first, tuple(others), _apart(segment, matches) if others else "")


def _evidence(segment: Segment) -> str:
    """What was seen at the target, in one line."""
    for sample, states in zip(segment.samples, segment.right, strict=True):
        seen, name = sample.seen, segment.target
        if not np.isfinite(seen).all():
            return f"{name} holds {int((~np.isfinite(seen)).sum())} values that are no finite numbers"
        if len(states) <= len(segment.stages):
            return f"{name} has shape {seen.shape}, behind a layer whose shape does not fit"
        expected = states[-1]
        if seen.shape != expected.value.shape:
            return f"{name} has shape {seen.shape}, expected {expected.value.shape}"
        if not fits(seen, expected, segment.dtype):
            off = np.abs(seen - expected.value)
            outside = off > expected.error
            worst = np.unravel_index(np.argmax(np.where(outside, off, 0)), off.shape)
            return (
                f"{int(outside.sum())} of {seen.size} values of {name} lie outside the rounding bound; the "
                f"largest departure: {seen[worst]:.6g}, expected {expected.value[worst]:.6g} "
                f"± {expected.error[worst]:.1g}"
            )
    return f"{segment.target} is within rounding"


def _apart(segment: Segment, matches: list[Match]) -> str:
    """What input tells the first two explanations apart: found by trying."""
    one, two = matches[0].changes, matches[1].changes
    random = generic(segment)
    if not one or not two:
        return "the layers that follow, if they are handed out"
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
    return "nothing that is handed out here: both are the same function; hand out the layers between"
