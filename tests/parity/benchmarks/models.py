"""Judge whole models, each in a process of its own: a table of verdicts, ratios, seconds and memory.

    python -m tests.parity.benchmarks.models                   the light models of the onnx package
    python -m tests.parity.benchmarks.models FOLDER ...        every *.onnx and */model.onnx in these folders

A model NAME.onnx gets its inputs from FOLDER/inputs/NAME.npz; without that file they are random. Tensors that
were recorded elsewhere (FOLDER/values/NAME.npz) are judged as they are; other models are run first.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

BAD = ("undecided", "coarse", "different")
TITLES = (
    "model | nodes | floats | judged | equal | rounding | undecided | coarse | different | unjudged "
    "| worst case | loop | read s | run s | judge s | of processor | MiB"
)


@dataclass
class Result:
    """What judging one model gave.

    Attributes:
        name: of the model.
        nodes: that compute (constants left out), and were recorded.
        floats: those of them with a floating-point output, and how many of them were judged.
        judged: see `floats`.
        verdicts: how often each was given.
        unjudged: operator → nodes.
        bad: a line for every tensor that is undecided, coarse or different.
        ratio, loop_ratio: the largest of all tensors.
        seconds: to read the model, to run it, to judge; and of processor time to judge.
        mebibytes: peak of the process, all of this included.
        problem: why nothing was judged.
    """

    name: str
    nodes: int = 0
    floats: int = 0
    judged: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    unjudged: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    ratio: float = 0.0
    loop_ratio: float = 0.0
    seconds: tuple[float, ...] = ()
    mebibytes: int = 0
    problem: str = ""

    def row(self) -> str:
        """Of the table."""
        if self.problem:
            return f"{self.name} | {self.problem}"
        share = f"{100 * self.judged / self.floats:.1f} %" if self.floats else "-"
        counts = (str(self.verdicts.get(one, 0)) for one in ("equal", "rounding", *BAD, "unjudged"))
        ratios = (f"{one:.2g}" for one in (self.ratio, self.loop_ratio))
        times = (f"{one:.1f}" for one in self.seconds)
        cells = (self.name, str(self.nodes), str(self.floats), share, *counts, *ratios, *times)
        return " | ".join((*cells, str(self.mebibytes)))


def judge_one(path: Path, name: str, sample: int | None, runtime: str) -> Result:
    """Read, run and judge one model in this process."""
    from parity.judging import judge
    from parity.onnx import read_onnx
    from parity.record import read_npz
    from parity.record.onnx_runtimes import record
    from parity.record.random_inputs import random_inputs

    inputs, values = (path.parent / which / f"{name}.npz" for which in ("inputs", "values"))
    if path.name == "model.onnx":
        inputs, values = (path.parent.parent / which / f"{name}.npz" for which in ("inputs", "values"))
    marks = [time.perf_counter()]
    given = read_npz(inputs) if inputs.exists() else None
    graph = read_onnx(path, shapes=given.shapes if given else {})
    marks.append(time.perf_counter())
    if values.exists():
        seen: Any = read_npz(values)
    else:
        fed = dict(given) if given is not None else random_inputs(graph)
        known = {*graph.tensors, *graph.inputs}
        seen = {tensor: a for tensor, a in record(path, fed, runtime).items() if tensor in known}
    marks.append(time.perf_counter())
    busy = time.process_time()
    report = judge(graph, seen, sample=sample)
    marks.append(time.perf_counter())
    result = summary(name, report, seen)
    result.seconds = (*(b - a for a, b in pairwise(marks)), time.process_time() - busy)
    result.mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return result


def summary(name: str, report: Any, seen: Any) -> Result:
    """The figures of a report."""
    from parity.arithmetic.floats import format_of

    nodes: dict[str, list[Any]] = {}
    for one in report.tensors:
        nodes.setdefault(one.node, []).append(one)
    floats = [
        all(one.verdict != "unjudged" for one in outputs)
        for outputs in nodes.values()
        if any(format_of(seen[one.tensor]) is not None for one in outputs)
    ]
    finite = [one for one in report.tensors if one.verdict != "unjudged"]
    return Result(
        name,
        len(nodes),
        len(floats),
        sum(floats),
        dict(Counter(one.verdict for one in report.tensors)),
        dict(report.unjudged),
        [line(one) for one in report.tensors if one.verdict in BAD or one.verdict == "unjudged"],
        max((one.ratio for one in finite), default=0.0),
        max((one.loop_ratio for one in finite if one.loop_ratio == one.loop_ratio), default=0.0),
    )


def line(one: Any) -> str:
    """What is known of one tensor."""
    worst = ""
    if one.worst is not None:
        worst = f"; at {list(one.worst.index)} {one.worst.found:.9g}, expected {one.worst.expected:.9g}"
    numbers = f"ratio {one.ratio:.3g}, loop {one.loop_ratio:.3g}, {one.equal} of {one.values} equal"
    return f"{one.tensor} ({one.op}) {one.verdict}: {numbers}{worst}; {one.note}"


def models(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    """All models of these folders, by name."""
    for folder in folders:
        for path in sorted([*folder.glob("*.onnx"), *folder.glob("*/model.onnx")]):
            yield (path.parent.name if path.name == "model.onnx" else path.stem), path


def apart(path: Path, name: str, options: argparse.Namespace) -> Result:
    """Judge one model in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--one", str(path), "--name", name]
    command += ["--runtime", options.runtime]
    command += ["--sample", str(options.sample)] if options.sample else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stderr.strip() and done.returncode == 0:
        print(f"{name} printed: {done.stderr.strip()[-1000:]}", file=sys.stderr)
    if done.returncode:
        return Result(name, problem=(done.stderr.strip().splitlines() or ["it ended"])[-1])
    return Result(**json.loads(done.stdout))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--json", type=Path, help="write all figures there as well")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(asdict(judge_one(options.one, options.name, options.sample, options.runtime))))
        return
    with tempfile.TemporaryDirectory() as place:
        folders = options.folders
        if not folders:
            # In a process of its own: the memory of this one would be counted as that of its children.
            names = options.only.split(",") if options.only else []
            subprocess.run([sys.executable, "-m", "tests.parity.benchmarks.light", place, *names], check=True)
            folders = [Path(place)]
        chosen = [one for one in models(folders) if not options.only or one[0] in options.only.split(",")]
        print_table(chosen, options)


def print_table(chosen: list[tuple[str, Path]], options: argparse.Namespace) -> None:
    """A row for each model as soon as it is there; then what is wrong or unjudged."""
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    print(f"| {TITLES} |")
    print("|" + " --- |" * len(TITLES.split("|")))
    results = []
    for name, path in chosen:
        results.append(apart(path, name, options))
        print(f"| {results[-1].row()} |", flush=True)
    for one in results:
        if one.bad or one.unjudged:
            unjudged = ", ".join(f"{op} {count}×" for op, count in one.unjudged.items())
            print(f"\n{one.name}{': not judged: ' + unjudged if unjudged else ''}")
            print("\n".join(f"    {text[:300]}" for text in one.bad))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=1))


if __name__ == "__main__":
    main()
