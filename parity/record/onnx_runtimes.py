"""Records what runtimes of ONNX files compute: the same graph, other code each time."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx import TensorShapeProto as TensorShape

from parity.arithmetic import Array
from parity.errors import MissingFramework, UserError, install_line
from parity.floats import equal_bits
from parity.onnx.flatten import standard
from parity.onnx.reading import load

Arrays = dict[str, Array]
Fed = Mapping[str, Array]
# Element types that onnxruntime hands out as NumPy arrays.
READABLE = (
    *("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bool)", "tensor(string)"),
    *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


@dataclass(frozen=True)
class Source:
    """A model: a file, which is read when it is asked for, or one in memory."""

    path: Path | None
    model: ModelProto | None = None

    def read(self) -> ModelProto:
        """The model; the weights that it stores in files of their own stay there."""
        return load(self.path) if self.path is not None else self.model  # type: ignore[return-value]

    def names(self) -> list[str]:
        """Every tensor that a node of the main graph makes, but for constants."""
        return visible(self.read())

    def exposed(self, names: Sequence[str]) -> bytes:
        """The model as a file in which these tensors are outputs as well, held in memory once."""
        model = self.read()
        known = {one.name for one in model.graph.output}
        more = ModelProto()  # protobufs are merged where their bytes are joined: no weight is touched
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
    """What a runtime makes of a model: its inputs, its outputs, and those tensors between that can be seen.

    Args:
        model: a path, or a model in memory.
        inputs: arrays by name.
        runtime: one of `RUNTIMES`.

    Raises:
        MissingFramework: it is not installed.
        UserError: there is no such runtime, or it refuses the model or the inputs.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"no runtime {runtime!r}: there are {', '.join(RUNTIMES)}")
    source = Source(None, model) if isinstance(model, ModelProto) else Source(Path(model))
    run, module = RUNTIMES[runtime]
    try:
        with _refusing(runtime):
            return {**inputs, **run(source, dict(inputs))}
    except ImportError as error:
        gone = isinstance(error, ModuleNotFoundError)
        what = "is not installed" if gone else f"does not import ({' '.join(str(error).split())})"
        raise MissingFramework(f"{runtime} {what}: {install_line(module)}") from error


@contextmanager
def _refusing(runtime: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, UserError):
        raise
    except Exception as error:  # the runtimes have no base class of their own in common
        line = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{runtime} cannot run the model: {line[:300]}") from error


def visible(model: ModelProto) -> list[str]:
    """Every tensor that a node of the main graph makes, but for constants."""
    nodes = [one for one in model.graph.node if one.op_type != "Constant" or standard(one.domain)]
    return list(dict.fromkeys(name for one in nodes for name in one.output if name))


# --- onnxruntime -------------------------------------------------------------------------------


def _session(model: bytes | str, folder: Path | None, optimise: bool = False, save: str = "") -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while it is imported
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0").partition(",")[0] or 0)
    options.log_severity_level = 4  # errors come as exceptions; not on the terminal as well
    if folder is not None and isinstance(model, bytes):
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    if save:
        options.optimized_model_filepath = save
        weights = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(weights + "file_name", Path(save).name + ".weights")
        options.add_session_config_entry(weights + "min_size_in_bytes", "1024")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Fed) -> Arrays:
    names = [one.name for one in session.get_outputs() if one.type in READABLE]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _onnxruntime(source: Source, inputs: Fed) -> Arrays:
    """Every operator by itself, as the graph says: optimisation off."""
    return _run(_session(source.exposed(source.names()), source.folder), inputs)


def _onnxruntime_all(source: Source, inputs: Fed) -> Arrays:
    """What users run: nodes fused, folded and reordered; and those tensors that still exist then.

    The optimised graph is saved, its tensors made outputs, and run as it is. That it is still the same
    program is checked: the outputs must have the bits of the first run, else they alone are returned.
    """
    with tempfile.TemporaryDirectory() as place:
        saved = Path(place) / "optimised.onnx"
        file = str(source.path) if source.path else source.read().SerializeToString()
        direct = _run(_session(file, None, optimise=True, save=str(saved)), inputs)
        known, optimised = set(source.names()), Source(saved)
        left = [name for name in optimised.names() if name in known]
        seen = _run(_session(optimised.exposed(left), Path(place)), inputs)
    same = all(name in seen and _alike(array, seen[name]) for name, array in direct.items())
    return {**seen, **direct} if same else direct


def _alike(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(equal_bits(a, b).all())


# --- others ------------------------------------------------------------------------------------


def _with_weights(source: Source) -> ModelProto:
    """A copy that holds its external data itself."""
    from onnx.external_data_helper import load_external_data_for_model

    copy = ModelProto()
    copy.CopyFrom(source.read())
    if source.folder is not None:
        load_external_data_for_model(copy, str(source.folder))
    return copy


def _reference(source: Source, inputs: Fed) -> Arrays:
    """The standard's own evaluator: one NumPy function for each operator."""
    from onnx.reference import ReferenceEvaluator

    one = Source(None, _with_weights(source))
    whole = ModelProto.FromString(one.exposed(one.names()))
    found = ReferenceEvaluator(whole).run(None, dict(inputs))
    pairs = zip((one.name for one in whole.graph.output), found, strict=True)
    return {name: np.asarray(array) for name, array in pairs if isinstance(array, np.ndarray | np.generic)}


def _openvino(source: Source, inputs: Fed) -> Arrays:
    """Intel's runtime; every tensor that keeps its name is an output.

    In float32: left alone, it computes in bfloat16 where the processor can.
    """
    import openvino

    core = openvino.Core()
    read = core.read_model(str(source.path) if source.path else source.read().SerializeToString())
    wanted = set(source.names())
    kept = {name for op in read.get_ops() for port in op.outputs() for name in port.get_names()} & wanted
    done = {name for port in read.outputs for name in port.get_names()}
    if more := sorted(kept - done):
        read.add_outputs(more)
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(dict(inputs))
    return {
        name: np.array(array) for port, array in found.items() for name in port.get_names() if name in wanted
    }


def _opencv(source: Source, inputs: Fed) -> Arrays:
    """OpenCV's dnn module, fusion off. It takes a symbolic size for 1, so that it is given fixed ones."""
    import cv2

    whole = _with_weights(source)
    for one in whole.graph.input:
        if one.name in inputs:
            sizes = [TensorShape.Dimension(dim_value=size) for size in inputs[one.name].shape]
            one.type.tensor_type.shape.CopyFrom(TensorShape(dim=sizes))
    names = source.names()
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in names)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(whole.SerializeToString(), np.uint8))
    net.enableFusion(False)
    for name, array in inputs.items():
        net.setInput(array, name)
    outputs = [name for name in names if name in set(net.getUnconnectedOutLayersNames())]
    return {name: np.array(array) for name, array in zip(outputs, net.forward(outputs), strict=True)}


Run = Callable[[Source, Fed], Arrays]
RUNTIMES: dict[str, tuple[Run, str]] = {  # how it is run, and the module that runs it
    "onnxruntime": (_onnxruntime, "onnxruntime"),
    "onnxruntime-all": (_onnxruntime_all, "onnxruntime"),
    "reference": (_reference, "onnx"),
    "openvino": (_openvino, "openvino"),
    "opencv": (_opencv, "cv2"),
}
