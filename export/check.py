"""Judges any ONNX file that claims to be this network: interface, graph, weights, and what it computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, ValueInfoProto

from export.graph import Reading, read_graph
from export.onnx_file import BATCH, checksum, describe, inputs, interface, metadata, read_file, with_outputs
from export.runtimes import Run, open_runtime
from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, LAYERS, PARAM_SHAPES
from lenet.reference import forward
from lenet.reference.distance import ratio
from parity.errors import UserError

Arrays = dict[str, np.ndarray]
SAME = "the same network with the same weights"
# What judges a file of unknown origin. Not OpenCV: what its importer lacks says nothing of the file.
JUDGES = ("onnxruntime", "onnxruntime-all", "reference")


@dataclass
class Ran:
    """What one runtime made of the file.

    Attributes:
        local: error over bound of each layer that was matched, given the file's own weights and its own
            input to the layer.
        end_to_end: error over bound of the logits given the image; None if they could not be had.
        problem: why it could not be run.
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
    """The findings on one file.

    Attributes:
        source: what to call it.
        reading: its tensors and parameters, and where its graph departs from the table of layers.
        header: how input, output or metadata are not as they should be.
        weights: how each parameter that is not the one asked about differs.
        ran: what each runtime made of it.
    """

    source: str
    reading: Reading
    header: list[str]
    weights: dict[str, str]
    ran: dict[str, Ran]

    @property
    def different(self) -> bool:
        """Whether anything at all was found."""
        return self.summary != SAME

    @property
    def summary(self) -> str:
        """The answer, in one line."""
        if problem := self.reading.problem:
            agreed = all(ran.end_to_end is not None and ran.end_to_end <= 1 for ran in self.ran.values())
            yet = "; its logits, though, are within rounding of the network's" if agreed else ""
            return f"another graph, at {problem}{yet}"
        for runtime, ran in self.ran.items():
            if ran.problem or ran.first_different:
                why = ran.problem or f"{ran.first_different} is outside of what rounding allows"
                return f"the graph is the network's, but not what {runtime} makes of it: {why}"
        if self.weights:
            return f"the same network with other weights, first {next(iter(self.weights))}"
        return f"the same network with the same weights, but {self.header[0]}" if self.header else SAME

    @property
    def layer(self) -> str | None:
        """The first layer, in the table's order, that any finding names."""
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
    """Is this the network, with these weights? Each question by itself:

    Does the graph follow the table of layers? Are the weights that it holds `params`, bit for bit? And
    does each runtime compute, from `images` (N, 1, 28, 28), the network *with the weights that the file
    holds*, to within rounding? Where the graph cannot be followed to its end, its logits are held
    against the network with `params`.

    Raises:
        UserError: the file holds weights that are not finite.
    """
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
    """Run the file as it is for its logits, and with every matched layer shown for the rest."""
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
    """`run`, given images in the shape, and as many at once, as the graph's input asks for."""
    image = inputs(model)[0]
    dims = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    if prod(dims[1:]) != prod(IMAGE_SHAPE):
        raise UserError(f"it cannot be given images: its input is {describe(image)}")

    def fed(images: np.ndarray) -> Arrays:
        size = dims[0] or len(images)
        rounds = ceil(len(images) / size)
        padded = np.resize(images, (rounds * size, *dims[1:]))  # the last batch filled up from the first
        parts = [run(part) for part in np.split(padded, rounds)]
        return {name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]}

    return fed


def _logits(values: Arrays, reading: Reading) -> np.ndarray:
    """The output that is the logits; where the graph was not followed so far, its first."""
    return values[reading.places["logits"].tensor] if reading.problem is None else next(iter(values.values()))


def _header(model: ModelProto, reading: Reading) -> list[str]:
    """How input, output and metadata differ from what every file of ours says."""
    image, logits = interface()
    output = model.graph.output[0]
    if reading.problem is None:
        output = next(v for v in model.graph.output if v.name == reading.places["logits"].tensor)
    findings = [
        f"the {what} is {describe(found)}, expected {describe(wanted)}"
        for what, found, wanted in (("input", inputs(model)[0], image), ("output", output, logits))
        if _described(found) != describe(wanted)
    ]
    stated = metadata(model).get("weights_sha256")
    if reading.problem is None and stated not in (None, checksum(reading.params)):
        findings.append("its metadata states the checksum of other weights: it was changed after the export")
    return findings


def _described(value: ValueInfoProto) -> str:
    """Whatever a symbolic batch is called, it is a batch."""
    ours = ValueInfoProto()
    ours.CopyFrom(value)
    dims = ours.type.tensor_type.shape.dim
    if dims and not dims[0].HasField("dim_value"):
        dims[0].dim_param = BATCH
    return describe(ours)


def _weights(reading: Reading, params: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Each parameter that is not the one asked about, in the table's order, and how it differs."""
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
