"""Common properties of all exported files (interface, opset, metadata, checks), and reading of files.

    image   float32 [batch, 1, 28, 28]  ->  logits  float32 [batch, 10]

with a symbolic batch. Opset and IR version are stated only here.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnx import (
    ModelProto,
    TensorProto,
    ValueInfoProto,
    checker,
    defs,
    helper,
    numpy_helper,
    shape_inference,
)
from onnx.external_data_helper import load_external_data_for_model

from export.old_importers import fix_targets, leave_out_later
from lenet import __version__
from lenet.network.architecture import CLASSES, IMAGE_SHAPE, PARAM_SHAPES
from parity.errors import UserError
from parity.onnx.reading import check_text, load, opset_of

# What all three exporters write: tf2onnx ends at opset 18, PyTorch's exporter starts there.
OPSET = 18
OLDEST = 9  # before it, a weight must be an input, too; its IR version 4 is of 2019
NEWEST = defs.onnx_opset_version()

LONGEST_LINE = 500  # characters of a library's message that are shown
INPUT, OUTPUT, BATCH = "image", "logits", "batch"
PREPROCESSING = (
    "pixels / 255 as float32, in [0, 1]; NCHW [batch, 1, 28, 28]; white ink (1.0) on black paper (0.0), "
    "the digit centred as in MNIST. logits are not probabilities: softmax makes them so, argmax is the digit."
)


def checksum(params: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the weights: their float32 bytes, little-endian, shared layout, table order."""
    digest = hashlib.sha256()
    for name in PARAM_SHAPES:
        digest.update(np.ascontiguousarray(params[name], dtype="<f4").tobytes())
    return digest.hexdigest()


def interface() -> tuple[ValueInfoProto, ValueInfoProto]:
    """Input and output of every file."""
    return (
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [BATCH, *IMAGE_SHAPE]),
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH, CLASSES]),
    )


def finish(
    model: ModelProto, params: Mapping[str, np.ndarray], exporter: str, opset: int = OPSET
) -> ModelProto:
    """A checked copy of an exporter's model with our interface and metadata, which most importers can read.

    The file states `opset`, with the first IR version that has it. The network's operators mean the same in
    all opsets from 9 on (newer ones take more types). If a node uses what an opset does not have, the checker
    refuses it. A shape that the graph computes becomes a constant.

    Removed is what does not describe the network: the exporter's notes (PyTorch's stack traces, with the
    paths of this machine), shapes between the layers with a symbolic batch, and domains without a node.

    Raises:
        UserError: there is no such opset, or the checker or strict shape inference refuses the graph.
    """
    if not OLDEST <= opset <= NEWEST:
        raise UserError(f"opset {opset} cannot be written: expected {OLDEST} to {NEWEST}")
    model = _copy(model)
    for noted in (model, model.graph, *model.graph.node, *model.graph.initializer):
        del noted.metadata_props[:]
    del model.graph.value_info[:]
    leave_out_later(model)
    with _refused(exporter):
        fix_targets(model)
    domains = {node.domain for node in model.graph.node}
    used = [one for one in model.opset_import if one.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(used)
    next(one for one in model.opset_import if not one.domain).version = opset
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    for values, own in zip((model.graph.input, model.graph.output), interface(), strict=True):
        _name_batch(values, own)
    metadata = {
        "weights_sha256": checksum(params),
        "lenet": __version__,
        "exporter": exporter,
        "preprocessing": PREPROCESSING,
    }
    helper.set_model_props(model, metadata)
    check(model, exporter)
    return model


def opset_in(model: ModelProto) -> int:
    """The version of the standard's operators that the model uses."""
    return next(one.version for one in model.opset_import if not one.domain)


def metadata(model: ModelProto) -> dict[str, str]:
    """The strings in the file's header."""
    return {prop.key: prop.value for prop in model.metadata_props}


def check(model: ModelProto, source: str) -> None:
    """Run ONNX's own full checker, with strict shape inference.

    Raises:
        UserError: a line with the first complaint.
    """
    with _refused(source):
        checker.check_model(model, full_check=True)
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        for tensor in model.graph.initializer:
            numpy_helper.to_array(tensor)  # the checker does not find data that is too long for the shape


@contextmanager
def _refused(source: str) -> Iterator[None]:
    """Turn what ONNX's checks raise into one line about `source`."""
    try:
        yield
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as error:
        raise UserError(f"{source}: not a valid ONNX model: {one_line(error)}") from error


def read_file(path: Path) -> ModelProto:
    """Read and check an ONNX file, including its external data.

    Raises:
        UserError: the file is missing, not ONNX, truncated or invalid, without outputs, its external data is
            missing, or its opset is newer than those of the installed `onnx`.
    """
    model = load(path)
    check_text(model, str(path))
    opset_of(model, str(path))
    if not model.graph.output:
        raise UserError(f"{path}: its graph has no output")
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, checker.ValidationError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)}") from error
    check(model, str(path))
    return model


def inputs(model: ModelProto) -> list[ValueInfoProto]:
    """The graph's inputs without weights, which are also listed as inputs before IR version 4."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def describe(value: ValueInfoProto) -> str:
    """An input or output for a reader: image float32 [batch, 1, 28, 28]."""
    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type) if tensor.elem_type else "of no type"
    dims = [dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim]
    return f"{value.name} {dtype} [{', '.join(dims)}]"


def with_outputs(model: ModelProto, tensors: Iterable[str]) -> ModelProto:
    """A copy with the named intermediate values as additional outputs.

    Raises:
        UserError: the type of a value cannot be inferred.
    """
    try:
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError as error:
        raise UserError(f"shapes cannot be inferred: {one_line(error)}") from error
    known = {value.name: value for value in inferred.graph.value_info}
    model = _copy(model)
    present = {value.name for value in (*model.graph.input, *model.graph.output)}
    model.graph.output.extend(known[name] for name in dict.fromkeys(tensors) if name not in present)
    return model


def one_line(error: Exception) -> str:
    """The first informative line of an error, because the libraries' messages have many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:LONGEST_LINE]


def _name_batch(values: Sequence[ValueInfoProto], own: ValueInfoProto) -> None:
    """Rename the exporter's symbolic batch to ours; everything else must be as in `own`."""
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_param:
            dims[0].dim_param = BATCH
    found = [describe(value) for value in values]
    if found != [describe(own)]:
        raise UserError(f"the exporter made {'; '.join(found)}, not {describe(own)}")


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
