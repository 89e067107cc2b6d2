"""Judges any ONNX file that claims to be this network: interface, graph, weights, and computed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, ValueInfoProto

from export.find_layers import MOST, Reading, read_graph
from export.onnx_file import BATCH, checksum, describe, inputs, interface, metadata, read_file, with_outputs
from export.runtimes import Run, open_runtime
from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, LAYERS, PARAM_SHAPES
from lenet.reference import forward
from lenet.reference.distance import ratio
from parity.errors import UserError
from parity.record.sessions import told_threads

Arrays = dict[str, np.ndarray]
SAME = "the same network with the same weights"
# The runtimes for a file of unknown origin. OpenCV is not used, because its importer lacks operators.
JUDGES = ("onnxruntime", "onnxruntime-all", "reference")


@dataclass
class Ran:
    """The results of a file in a runtime.

    Attributes:
        local: {matched layer: error/bound}, given the file's own weights and its own input to the layer.
        end_to_end: error/bound of the logits, given the image; None if there are no logits.
        problem: the reason why the file could not be run.
    """

    local: dict[str, float] = field(default_factory=dict)
    end_to_end: float | None = None
    problem: str | None = None

    @property
    def first_different(self) -> str | None:
        """The first layer that rounding does not explain."""
        if late := next((layer for layer, worst in self.local.items() if not worst <= 1), None):
            return late
        return None if self.end_to_end is None or self.end_to_end <= 1 else "logits"


@dataclass
class Verdict:
    """The findings on a file.

    Attributes:
        source: the name of the file in messages.
        reading: its tensors and parameters, and the first difference of its graph from the table of layers.
        header: faults of input, output or metadata.
        weights: {parameter: its difference from the expected parameter}.
        ran: {runtime: results}.
    """

    source: str
    reading: Reading
    header: list[str]
    weights: dict[str, str]
    ran: dict[str, Ran]

    @property
    def different(self) -> bool:
        """Whether there is any finding."""
        return self.summary != SAME

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        if problem := self.reading.problem:
            agreed = all(ran.end_to_end is not None and ran.end_to_end <= 1 for ran in self.ran.values())
            yet = "; but its logits are within rounding of the network's" if agreed else ""
            return f"another graph, at {problem}{yet}"
        for runtime, ran in self.ran.items():
            if ran.problem or ran.first_different:
                why = ran.problem or f"{ran.first_different} is outside its rounding bound"
                return f"the graph is the network's, but {runtime} computes something else: {why}"
        if self.weights:
            return f"the same network with other weights, first {next(iter(self.weights))}"
        return f"the same network with the same weights, but {self.header[0]}" if self.header else SAME

    @property
    def layer(self) -> str | None:
        """The first layer, in the table's order, with a finding."""
        named = {name.partition(".")[0] for name in self.weights}
        named |= {self.reading.problem.layer} if self.reading.problem else set()
        named |= {ran.first_different for ran in self.ran.values() if ran.first_different}
        return next((name for name in ("image", *ACTIVATION_SHAPES) if name in named), None)


def check_file(path: Path, params: Mapping[str, np.ndarray], images: np.ndarray) -> Verdict:
    """Judge the ONNX file at `path`; see `check_model`.

    Raises:
        UserError: the file cannot be read, or holds weights that are not finite.
    """
    return check_model(read_file(path), params, images, str(path))


def check_model(
    model: ModelProto,
    params: Mapping[str, np.ndarray],
    images: np.ndarray,
    source: str,
    runtimes: Sequence[str] = JUDGES,
) -> Verdict:
    """Judge whether the file is the network with these weights. Three questions are separate:

    Does the graph follow the table of layers? Are its weights equal to `params`, bit for bit? Does each
    runtime compute the network *with the weights in the file* from `images` (N, 1, 28, 28), up to rounding?
    If the graph cannot be followed to its end, its logits are compared with the network with `params`.

    Raises:
        UserError: the file holds weights that are not finite.
    """
    told_threads()  # a wrong number is no fault of the file
    reading = read_graph(model)
    if reading.problem is None:
        weights.check(reading.params, source=source)
    own = params if reading.problem else reading.params
    expected = forward.reference(own, images)["logits"]
    ran = {name: _ran(name, model, reading, images, expected) for name in runtimes}
    return Verdict(source, reading, _header(model, reading), _weights(reading, params), ran)


def _ran(
    runtime: str, model: ModelProto, reading: Reading, images: np.ndarray, expected: forward.Bounded
) -> Ran:
    """Run the unchanged file for its logits, and a copy with every matched layer as output for the layers."""
    shown = [place.tensor for place in reading.places.values()]
    ran = Ran()
    try:
        logits = _logits(_in_batches(model, open_runtime(runtime, model))(images), reading)
        values = _in_batches(model, open_runtime(runtime, with_outputs(model, shown)))(images)
    except UserError as error:
        ran.problem = str(error)
        return ran
    if logits.shape == expected.value.shape:
        ran.end_to_end = float(ratio(logits, expected).max())
    else:
        ran.problem = f"the output has shape {logits.shape}, expected {expected.value.shape}"
    params = {name: np.zeros(shape, np.float32) for name, shape in PARAM_SHAPES.items()} | reading.params
    x = images
    for layer in LAYERS[: len(reading.places)]:
        place = reading.places[layer.name]
        y = place.to_shared(layer.name, values[place.tensor])
        ran.local[layer.name] = float(ratio(y, forward.local(layer, params, x)).max())
        x = y
    return ran


def _in_batches(model: ModelProto, run: Run) -> Run:
    """`run` with images in the shape and batch size that the graph's input requires."""
    given = inputs(model)
    if len(given) != 1:
        raise UserError(f"it cannot be given images: it has {len(given) or 'no'} inputs")
    (image,) = given
    dims = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    if prod(dims[1:]) != prod(IMAGE_SHAPE):
        raise UserError(f"it cannot be given images: its input is {describe(image)}")

    def fed(images: np.ndarray) -> Arrays:
        size = dims[0] or len(images)
        if not 0 < size <= MOST:
            raise UserError(f"it cannot be given images: its batch is {size:,}")
        rounds = ceil(len(images) / size)
        padded = np.resize(images, (rounds * size, *dims[1:]))  # first images fill the last batch
        parts = [run(part) for part in np.split(padded, rounds)]
        for name, value in parts[0].items():
            if value.shape[:1] != (size,):
                raise UserError(f"its output {name!r} has shape {value.shape}, not a row for each image")
        return {name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]}

    return fed


def _logits(values: Arrays, reading: Reading) -> np.ndarray:
    """The output with the logits. If the graph was not followed to the logits, its first output."""
    return values[reading.places["logits"].tensor] if reading.problem is None else next(iter(values.values()))


def _header(model: ModelProto, reading: Reading) -> list[str]:
    """Differences of input, output and metadata from those of our own files."""
    image, logits = interface()
    output = model.graph.output[0]
    if reading.problem is None:
        output = next(v for v in model.graph.output if v.name == reading.places["logits"].tensor)
    given = inputs(model)
    findings = [] if given else [f"there is no input, expected {describe(image)}"]
    findings += [
        f"the {what} is {describe(found)}, expected {describe(wanted)}"
        for what, found, wanted in (*(("input", one, image) for one in given[:1]), ("output", output, logits))
        if _described(found) != describe(wanted)
    ]
    stated = metadata(model).get("weights_sha256")
    if reading.problem is None and stated not in (None, checksum(reading.params)):
        findings.append("the checksum in its metadata is of other weights: the file was changed after export")
    return findings


def _described(value: ValueInfoProto) -> str:
    """A description in which every symbolic batch has the same name."""
    ours = ValueInfoProto()
    ours.CopyFrom(value)
    dims = ours.type.tensor_type.shape.dim
    if dims and not dims[0].HasField("dim_value"):
        dims[0].dim_param = BATCH
    return describe(ours)


def _weights(reading: Reading, params: Mapping[str, np.ndarray]) -> dict[str, str]:
    """{parameter: its difference from `params`}, in the table's order, for parameters that differ."""
    findings = {}
    for name in PARAM_SHAPES:
        if name not in reading.params:
            continue
        found, wanted = reading.params[name], params[name]
        unequal = found.view(np.int32) != wanted.view(np.int32)  # bits: a −0 is not a 0
        if unequal.any():
            first = ", ".join(str(i) for i in np.argwhere(unequal)[0])
            with np.errstate(invalid="ignore"):
                most = np.abs(found - wanted).max()
            moved = np.array_equal(np.sort(found, axis=None), np.sort(wanted, axis=None))
            findings[name] = (
                f"{unequal.sum():,} of {unequal.size:,} values differ, by at most {most:.3g}, first [{first}]"
                f"{'; they are the same values in another order' if moved else ''}"
            )
    return findings
