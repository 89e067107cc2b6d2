"""Opens a model in a runtime, with the settings that each runtime needs.

A session is a function that takes inputs by name and returns outputs by name.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx import TensorShapeProto as TensorShape

from parity.arithmetic import Array
from parity.errors import UserError, text_of

Arrays = dict[str, Array]
Fed = Mapping[str, Array]
Session = Callable[[Fed], Arrays]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
# Element types that onnxruntime returns as NumPy arrays.
READABLE = (
    *("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bool)", "tensor(string)"),
    *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn any exception of a runtime into one line; the runtimes' exceptions share no base class."""
    try:
        yield
    except (ImportError, UserError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a model may be anybody's function
        raise UserError(f"{what}: {text_of(error)[:300]}") from error


def in_onnxruntime(
    model: bytes | str,
    folder: Path | None = None,
    *,
    optimise: bool = False,
    save: str = "",
    threads: int | None = None,
) -> Session:
    """Microsoft's runtime. Its optimisation fuses, folds and reorders nodes before they run.

    Args:
        model: the bytes of a file, or its path.
        folder: where its external data lie.
        optimise: whether it may optimise the graph.
        save: where to write the optimised model.
        threads: number of threads, unless OMP_NUM_THREADS is set; None lets onnxruntime choose.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reads it when it is imported
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(4)  # errors come as exceptions, and need not be printed too
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = told_threads() or threads or 0
    options.log_severity_level = 4
    if folder is not None and isinstance(model, bytes):
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    if save:
        options.optimized_model_filepath = save
        weights = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(weights + "file_name", Path(save).name + ".weights")
        options.add_session_config_entry(weights + "min_size_in_bytes", "1024")
    opened = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in opened.get_outputs() if one.type in READABLE]
    return lambda inputs: dict(zip(names, opened.run(names, dict(inputs)), strict=True))


def told_threads() -> int | None:
    """The first number of OMP_NUM_THREADS, which has one for each level of nesting; None if it is not set.

    Raises:
        UserError: it is no number, or one that no machine has.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").strip()
    if not told:
        return None
    first = told.partition(",")[0].strip()
    if not (first.isascii() and first.isdigit() and len(first) <= 4):
        raise UserError(f"OMP_NUM_THREADS={told!r}: expected a number of threads")
    return int(first)


def in_reference(model: ModelProto) -> Session:
    """ONNX's reference evaluator: one NumPy function for each operator, made to be read, not to be fast."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    names = [one.name for one in model.graph.output]

    def run(inputs: Fed) -> Arrays:
        found = zip(names, evaluator.run(names, dict(inputs)), strict=True)
        return {name: np.asarray(one) for name, one in found if isinstance(one, np.ndarray | np.generic)}

    return run


def in_openvino(
    model: bytes | str, names: Sequence[str], precision: str | None = None, threads: int | None = None
) -> Session:
    """Intel's runtime; of the tensors with these names, those that it keeps are outputs.

    Args:
        precision: the format in which it computes: "f32". None leaves its default, which is bfloat16 or
            float16 where the processor multiplies matrices in that format, and float32 elsewhere.
        threads: number of threads, unless OMP_NUM_THREADS is set; None lets OpenVINO choose.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it takes a stub then
    import openvino

    core = openvino.Core()
    read = core.read_model(model)
    wanted = set(names)
    kept = {name for op in read.get_ops() for port in op.outputs() for name in port.get_names()} & wanted
    done = {name for port in read.outputs for name in port.get_names()}
    if more := sorted(kept - done):
        read.add_outputs(more)
    count = told_threads() or threads
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    compiled = core.compile_model(read, "CPU", settings | ({"INFERENCE_NUM_THREADS": count} if count else {}))

    def run(inputs: Fed) -> Arrays:
        found = compiled(dict(inputs)).items()
        return {name: np.array(array) for port, array in found for name in port.get_names() if name in wanted}

    return run


def in_opencv(model: ModelProto, names: Sequence[str], inputs: Fed | None = None) -> Session:
    """OpenCV's dnn module, with its own importer and layers; of the named tensors, those that it keeps.

    Its importer takes a symbolic size as 1 without a warning: a shape that the graph computes is then folded
    with that 1, and a batch of 50 gives a wrong result of shape (50, 1, 10). So a network is made with fixed
    sizes, one for each set of sizes. Fusion is off, so that a named tensor is the output of one layer.

    Args:
        inputs: those of the first run, so that a model that cannot be loaded is refused now; without them,
            the model is loaded with 1 for each symbolic size.
    """
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it refuses is in the exception

    @lru_cache(maxsize=4)
    def network(shapes: Shapes) -> tuple[Any, list[str]]:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(_with_sizes(model, shapes, names), np.uint8))
        net.enableFusion(False)
        net.enableWinograd(False)  # which is less accurate than a sum of products
        left = set(net.getUnconnectedOutLayersNames())
        return net, [name for name in names if name in left]

    def run(inputs: Fed) -> Arrays:
        net, outputs = network(tuple((name, array.shape) for name, array in inputs.items()))
        for name, array in inputs.items():
            net.setInput(array, name)
        return {name: np.array(array) for name, array in zip(outputs, net.forward(outputs), strict=True)}

    network(_smallest(model) if inputs is None else tuple((name, one.shape) for name, one in inputs.items()))
    return run


def _smallest(model: ModelProto) -> Shapes:
    """The shapes of the inputs, with 1 for each symbolic size."""
    stored = {one.name for one in model.graph.initializer}
    return tuple(
        (one.name, tuple(dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim))
        for one in model.graph.input
        if one.name not in stored
    )


def _with_sizes(model: ModelProto, shapes: Shapes, names: Sequence[str]) -> bytes:
    """The model as a file with inputs of these shapes and these outputs."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    wanted = dict(shapes)
    for one in fixed.graph.input:
        if one.name in wanted:
            sizes = [TensorShape.Dimension(dim_value=size) for size in wanted[one.name]]
            one.type.tensor_type.shape.CopyFrom(TensorShape(dim=sizes))
    del fixed.graph.value_info[:]  # holds the symbolic sizes
    del fixed.graph.output[:]
    fixed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in names)
    return fixed.SerializeToString()


def open_model(runtime: str, model: ModelProto, threads: int | None = None) -> Session:
    """Load a model once, as a session that can run many times and returns every output of the graph.

    Args:
        runtime: one of `OPENED`.
        threads: number of threads of onnxruntime and OpenVINO, unless OMP_NUM_THREADS is set.

    Raises:
        UserError: the runtime refuses the model. The session raises it if the runtime cannot run the model.
    """
    with refusing(f"{runtime} cannot load the model"):
        session = OPENED[runtime](model, threads)
    names = [one.name for one in model.graph.output]

    def run(inputs: Fed) -> Arrays:
        with refusing(f"{runtime} cannot run the model"):
            found = session(inputs)
        if lost := [name for name in names if name not in found]:
            raise UserError(f"{runtime} cannot run the model: it returns no {', '.join(lost)}")
        return {name: found[name] for name in names}

    return run


def _opened_by_onnxruntime(model: ModelProto, threads: int | None, optimise: bool) -> Session:
    return in_onnxruntime(model.SerializeToString(), optimise=optimise, threads=threads)


def _opened_by_openvino(model: ModelProto, threads: int | None) -> Session:
    return in_openvino(model.SerializeToString(), [one.name for one in model.graph.output], "f32", threads)


OPENED: dict[str, Callable[[ModelProto, int | None], Session]] = {
    "onnxruntime": partial(_opened_by_onnxruntime, optimise=False),
    "onnxruntime-all": partial(_opened_by_onnxruntime, optimise=True),
    "reference": lambda model, threads: in_reference(model),
    "openvino-f32": _opened_by_openvino,
    "opencv": lambda model, threads: in_opencv(model, [one.name for one in model.graph.output]),
}
