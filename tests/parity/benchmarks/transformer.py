"""Judge a transformer whose weights are larger than memory should be: written, recorded and judged in parts.

    python -m tests.parity.benchmarks.transformer FOLDER [--gigabytes 4] [--sample 4096] [--tf32 NODE]

FOLDER/model.onnx holds the graph, FOLDER/weights.bin its weights; both are made where they are missing.
Every node is run by itself in onnxruntime, and FOLDER/values.npz gets every tensor. With --tf32 the operands
of that node are cut to TF32 before, and that tensor alone must be coarse. Each step is a process of its own,
so that its memory can be told.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from parity.arithmetic.floats import TF32
from parity.judging import judge
from parity.onnx import read_onnx
from parity.record import read_npz
from tests.parity.benchmarks.light import run_node

BLOCK = 2**24  # values drawn at a time
WIDTH, HEADS, VOCABULARY, POSITIONS, TOKENS = 2048, 16, 32000, 1024, 32


@dataclass
class Network:
    """Nodes and weights of a graph that is being built; large weights go to a file at once."""

    file: IO[bytes]
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name="n_" + output, **attributes))
        return output

    def constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        """Add a small tensor, stored in the graph."""
        self.weights.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def weight(self, name: str, shape: Sequence[int], scale: float, shift: float = 0.0) -> str:
        """Add a random matrix, stored in the file."""
        self.file.write(b"\0" * (-self.file.tell() % 4096))
        offset, count = self.file.tell(), int(np.prod(shape))
        rng = np.random.default_rng(len(self.weights))
        for start in range(0, count, BLOCK):
            part = rng.standard_normal(min(BLOCK, count - start), dtype=np.float32)
            (part * np.float32(scale) + np.float32(shift)).tofile(self.file)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": Path(self.file.name).name, "offset": offset, "length": 4 * count}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.weights.append(tensor)
        return name

    def dense(self, x: str, name: str, sizes: tuple[int, int], gain: float = 1.0) -> str:
        """x·W + b, as two nodes."""
        w = self.weight(name + "_w", sizes, gain * sizes[0] ** -0.5)
        product = self.node("MatMul", [x, w], name + "_product")
        return self.node("Add", [product, self.weight(name + "_b", sizes[1:], 0.02)], name)

    def norm(self, x: str, name: str) -> str:
        """Layer normalization."""
        scale = self.weight(name + "_g", [WIDTH], 0.1, 1.0)
        return self.node("LayerNormalization", [x, scale, self.weight(name + "_s", [WIDTH], 0.02)], name)


def attention(net: Network, x: str, p: str, gain: float) -> str:
    """Of one layer, behind its normalization."""
    heads = {}
    for which in "qkv":
        y = net.dense(x, p + which, (WIDTH, WIDTH))
        y = net.node("Reshape", [y, "split_shape"], p + which + "_split")
        order = [0, 2, 3, 1] if which == "k" else [0, 2, 1, 3]
        heads[which] = net.node("Transpose", [y], p + which + "_heads", perm=order)
    q = net.node("Mul", [heads["q"], "head_scale"], p + "q_scaled")
    score = net.node("MatMul", [q, heads["k"]], p + "score")
    masked = net.node("Add", [score, "mask"], p + "score_masked")
    share = net.node("Softmax", [masked], p + "share", axis=-1)
    mixed = net.node("MatMul", [share, heads["v"]], p + "mixed")
    back = net.node("Transpose", [mixed], p + "mixed_back", perm=[0, 2, 1, 3])
    joined = net.node("Reshape", [back, "join_shape"], p + "mixed_join")
    return net.dense(joined, p + "out", (WIDTH, WIDTH), gain)


def gelu(net: Network, x: str, p: str, written_out: bool) -> str:
    """As one operator, or as the five that exporters make of it."""
    if not written_out:
        return net.node("Gelu", [x], p + "gelu")
    y = net.node("Div", [x, "root_two"], p + "gelu_div")
    y = net.node("Add", [net.node("Erf", [y], p + "gelu_erf"), "one"], p + "gelu_plus")
    return net.node("Mul", [net.node("Mul", [x, y], p + "gelu_times"), "half"], p + "gelu")


def inputs(net: Network) -> str:
    """Tokens and places as vectors, and the mask of what comes later."""
    for name, value in (("root_two", 2**0.5), ("one", 1.0), ("half", 0.5), ("much", -1e9), ("nothing", 0.0)):
        net.constant(name, value)
    net.constant("head_scale", (WIDTH // HEADS) ** -0.5)
    net.constant("split_shape", [0, 0, HEADS, WIDTH // HEADS], np.int64)
    net.constant("join_shape", [0, 0, WIDTH], np.int64)
    net.constant("zero", 0, np.int64)
    net.constant("unit", 1, np.int64)
    net.constant("axis", [1], np.int64)
    net.node("Gather", [net.node("Shape", ["tokens"], "tokens_shape"), "unit"], "length")
    net.node("Range", ["zero", "length", "unit"], "place")
    net.node("Greater", ["place", net.node("Unsqueeze", ["place", "axis"], "query_place")], "later")
    net.node("Where", ["later", "much", "nothing"], "mask")
    words = net.node("Gather", [net.weight("token_table", [VOCABULARY, WIDTH], 1.0), "tokens"], "words")
    places = net.node("Gather", [net.weight("place_table", [POSITIONS, WIDTH], 0.3), "place"], "places")
    return net.node("Add", [words, places], "stream")


def make(folder: Path, gigabytes: float) -> None:
    """Write the model: a decoder of as many layers as fill so much space."""
    tables = (2 * VOCABULARY + POSITIONS) * WIDTH
    layers = max(2, round((gigabytes * 1e9 / 4 - tables) / (12 * WIDTH**2)))
    with (folder / "weights.bin").open("wb") as file:
        net = Network(file)
        stream = inputs(net)
        for k in range(layers):
            p = f"l{k:03d}_"
            x = attention(net, net.norm(stream, p + "norm_1"), p, (2 * layers) ** -0.5)
            stream = net.node("Add", [stream, x], p + "stream_1")
            x = net.dense(net.norm(stream, p + "norm_2"), p + "up", (WIDTH, 4 * WIDTH))
            x = gelu(net, x, p, k % 2 == 1)
            x = net.dense(x, p + "down", (4 * WIDTH, WIDTH), (layers / 2) ** -0.5)
            stream = net.node("Add", [stream, x], p + "stream_2")
        last = net.norm(stream, "last_norm")
        net.node("MatMul", [last, net.weight("head", [WIDTH, VOCABULARY], WIDTH**-0.5)], "logits")
    given = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "sequence"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", VOCABULARY])
    graph = helper.make_graph(net.nodes, "decoder", [given], [logits], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "model.onnx")


def write(folder: Path, coarse: str) -> None:
    """Run node after node, and write each tensor as soon as it is made."""
    onnxruntime.disable_telemetry_events()
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    weights = read_onnx(folder / "model.onnx").constants
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (1, TOKENS))
    values = {"tokens": tokens}
    last = {name: k for k, node in enumerate(model.graph.node) for name in node.input}
    with zipfile.ZipFile(folder / "values.npz", "w", allowZip64=True) as file:

        def keep(name: str, array: np.ndarray) -> None:
            with file.open(name + ".npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)

        keep("tokens", tokens)
        for k, node in enumerate(model.graph.node):
            fed = {name: values[name] if name in values else weights[name] for name in node.input}
            if node.name == coarse:
                fed = {name: TF32.round(array) for name, array in fed.items()}
            for name, array in run_node(node, fed, model):
                values[name] = array
                keep(name, array)
            for name in node.input:
                if last[name] == k:
                    values.pop(name, None)


def check(folder: Path, sample: int, coarse: str) -> None:
    """Judge what was written, and print what came out.

    Raises:
        SystemExit: something else is coarse or different than what was cut.
    """
    graph = read_onnx(folder / "model.onnx")
    report = judge(graph, read_npz(folder / "values.npz"), sample=sample)
    wrong = [one for one in report.tensors if one.verdict in ("coarse", "different")]
    print(f"{report.judged} of {len(graph.tensors)} tensors judged, {sample:,} values each: {report.verdict}")
    for one in wrong:
        print(f"    {one.tensor} ({one.op}) {one.verdict}: {one.loop_ratio:.0f} times the plain loop")
    if [f"n_{one.tensor}" for one in wrong] != [coarse] * bool(coarse):
        raise SystemExit("not what was expected")


def step(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Do one step, and say what it took."""
    start = time.perf_counter()
    if name == "make":
        make(folder, options.gigabytes)
    elif name == "write":
        write(folder, options.tf32)
    else:
        check(folder, options.sample, options.tf32)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    took = f"{seconds:.0f} s ({time.process_time():.0f} s of processor time, load {os.getloadavg()[0]:.1f})"
    print(f"{name}: {took}, {peak} MiB")


def main() -> None:
    """The command line."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--sample", type=int, default=4096)
    parser.add_argument("--tf32", default="", metavar="NODE")
    parser.add_argument("--step", choices=("make", "write", "judge"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step, options.folder, options)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    made = (options.folder / "model.onnx").exists()
    for name in ("write", "judge") if made else ("make", "write", "judge"):
        command = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--step", name]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
