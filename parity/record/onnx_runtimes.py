"""Records what several runtimes compute for the same ONNX graph, each with its own code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj

from onnx import ModelProto, helper

from parity.arithmetic import Array
from parity.arithmetic.floats import equal_bits
from parity.errors import UserError, importing
from parity.files import temporary_folder
from parity.onnx.flatten import standard
from parity.onnx.reading import load
from parity.record.sessions import (
    Arrays,
    Fed,
    in_onnxruntime,
    in_opencv,
    in_openvino,
    in_reference,
    refusing,
)


@dataclass(frozen=True)
class Source:
    """A model: a file, which is read at each use, or a model in memory."""

    path: Path | None
    model: ModelProto | None = None

    def read(self) -> ModelProto:
        """The model; weights in files of their own are not read."""
        return load(self.path) if self.path is not None else self.model  # type: ignore[return-value]

    def names(self) -> list[str]:
        """Names of all tensors that nodes of the main graph make, except constants."""
        return visible(self.read())

    def exposed(self, names: Sequence[str]) -> bytes:
        """The bytes of the model in which these tensors are outputs too; memory holds only one copy."""
        model = self.read()
        known = {one.name for one in model.graph.output}
        more = ModelProto()  # joining the bytes of two protobufs merges them: no weight is read
        unknown = (name for name in names if name not in known)
        more.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in unknown)
        joined = BytesIO()
        if self.path is None:
            joined.write(model.SerializeToString())
        else:
            del model
            with self.path.open("rb") as file:
                copyfileobj(file, joined)
        joined.write(more.SerializeToString())
        return joined.getvalue()

    @property
    def folder(self) -> Path | None:
        """Where its external data lie."""
        return None if self.path is None else self.path.parent.resolve()


def record(model: Path | str | ModelProto, inputs: Fed, runtime: str = "onnxruntime") -> Arrays:
    """The tensors that a runtime computes for a model: inputs, outputs, and all others that it can show.

    Args:
        model: a path, or a model in memory.
        inputs: arrays by name.
        runtime: one of `RUNTIMES`.

    Raises:
        MissingFramework: the runtime is not installed.
        UserError: there is no such runtime, or it refuses the model or the inputs.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"no runtime {runtime!r}: there are {', '.join(RUNTIMES)}")
    source = Source(None, model) if isinstance(model, ModelProto) else Source(Path(model))
    run, module = RUNTIMES[runtime]
    with importing(runtime, module), refusing(f"{runtime} cannot run the model"):
        return {**inputs, **run(source, dict(inputs))}


def visible(model: ModelProto) -> list[str]:
    """Names of all tensors that nodes of the main graph make, except constants."""
    nodes = [one for one in model.graph.node if one.op_type != "Constant" or standard(one.domain)]
    return list(dict.fromkeys(name for one in nodes for name in one.output if name))


# --- one function for each runtime -----------------------------------------------------------


def _onnxruntime(source: Source, inputs: Fed) -> Arrays:
    """Run every operator of the graph by itself, with optimisation off; record every tensor."""
    return in_onnxruntime(source.exposed(source.names()), source.folder)(inputs)


def _onnxruntime_all(source: Source, inputs: Fed) -> Arrays:
    """Run the optimised graph, as users do: nodes are fused, folded and reordered. Record what remains.

    The optimised graph is saved, its tensors are made outputs, and it is run again as it is. This must be the
    same program: if the outputs differ in any bit, only the outputs of the first run are returned.
    """
    with temporary_folder() as place:
        saved = place / "optimised.onnx"
        file = str(source.path) if source.path else source.read().SerializeToString()
        direct = in_onnxruntime(file, optimise=True, save=str(saved))(inputs)
        known, optimised = set(source.names()), Source(saved)
        left = [name for name in optimised.names() if name in known]
        seen = in_onnxruntime(optimised.exposed(left), place)(inputs)
    same = all(name in seen and _alike(array, seen[name]) for name, array in direct.items())
    return {**seen, **direct} if same else direct


def _alike(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(equal_bits(a, b).all())


def _with_weights(source: Source) -> ModelProto:
    """A copy of the model that contains its external data."""
    from onnx.external_data_helper import load_external_data_for_model

    copy = ModelProto()
    copy.CopyFrom(source.read())
    if source.folder is not None:
        load_external_data_for_model(copy, str(source.folder))
    return copy


def _reference(source: Source, inputs: Fed) -> Arrays:
    """Run ONNX's reference evaluator; record every tensor."""
    whole = Source(None, _with_weights(source))
    return in_reference(ModelProto.FromString(whole.exposed(whole.names())))(inputs)


def _openvino(source: Source, inputs: Fed, precision: str | None = None) -> Arrays:
    """Run OpenVINO; record every tensor that keeps its name."""
    model = str(source.path) if source.path else source.read().SerializeToString()
    return in_openvino(model, source.names(), precision)(inputs)


def _opencv(source: Source, inputs: Fed) -> Arrays:
    """Run OpenCV; record every tensor that keeps its name."""
    return in_opencv(_with_weights(source), source.names(), inputs)(inputs)


Run = Callable[[Source, Fed], Arrays]
RUNTIMES: dict[str, tuple[Run, str]] = {  # the function that runs it, and the module that it needs
    "onnxruntime": (_onnxruntime, "onnxruntime"),
    "onnxruntime-all": (_onnxruntime_all, "onnxruntime"),
    "reference": (_reference, "onnx"),
    "openvino": (_openvino, "openvino"),
    "openvino-f32": (partial(_openvino, precision="f32"), "openvino"),
    "opencv": (_opencv, "cv2"),
}
