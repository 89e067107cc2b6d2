"""`python -m museum.record`: records an original again, in another Python."""

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from lenet.commands import options
from lenet.compare import exact_bits
from lenet.network import weights
from lenet.network.digits import test_set
from lenet.ports.threads import THREADS
from lenet.reference.exact import EXACT, coarsen
from lenet_caffe.train import SOLVER
from museum import caffe_training, recorded
from museum.recorded import Origin
from parity.command.terminal import output
from parity.errors import UserError
from parity.files import check_writable, write_atomically
from parity.record.npz import read_npz, write_npz

ORIGINALS = Path(__file__).with_name("originals")
PROTOCOL = ORIGINALS / "protocol.py"
# {script: how to get what it runs in}
NEEDS = {
    "caffe.py": "debootstrap bullseye DIR; in it: apt install python3-caffe; --python 'chroot DIR python3'",
    "theano.py": "Python 2.7, or 3.5 to 3.9, with g++ and: pip install Theano==1.0.5 'numpy<1.20'",
    "tf0.py": "Python 2.7 or 3.5: pip install tensorflow==0.12.1 'numpy<1.12'",
    "tf1.py": "Python 2.7, or 3.5 to 3.7: pip install tensorflow==1.15.5 'protobuf<3.21'",
    "torch.py": "Python 2.7, or 3.5 to 3.7: pip install torch==1.0.0 numpy",
    "chainer.py": "Python 3.5 to 3.9: pip install chainer==7.8.1 'numpy<1.24'",
    "mxnet.py": "Python 3.6 to 3.8: pip install mxnet==1.9.1 'numpy<1.24'",
    "cntk.py": "Python 2.7, or 3.5 or 3.6, with OpenMPI 1.10 or a stub of it: pip install cntk==2.7",
    "keras_theano.py": "Python 3.5 to 3.7, with g++: pip install keras==2.3.1 Theano==1.0.5 'numpy<1.20'",
    "lasagne.py": "Python 2.7, with g++: pip install Lasagne==0.1 Theano==0.8.2 'numpy<1.12'",
}
PROTOTXT = sorted(SOLVER.parent.glob("*.prototxt"))
TEXTS = ("version", "interpreter")  # in an answer, beside the arrays
ONE_THREAD = dict.fromkeys(THREADS, "1")
NOT_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # of this interpreter, not of the other


@click.command(cls=options.Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="NAME")
@click.option(
    "--python", metavar="COMMAND", help="The interpreter, or a command that runs one: 'chroot DIR python3'."
)
@click.option(
    "--out", "folder", type=options.FILE, metavar="DIR", default=Path("."), help="Default: this folder."
)
@click.option(
    "--timeout", type=options.SECONDS, default=600, show_default=True, metavar="SECONDS", help="Time limit."
)
def record(name: str, python: str | None, folder: Path, timeout: float) -> None:
    """Record NAME of `lenet museum` again: write NAME.npz and NAME.json into DIR, and compare.

    The interpreter needs NumPy and the framework, and nothing of this project: it gets a script of
    museum/originals/ on its standard input, and returns arrays on its standard output.
    """
    origin = recorded.read(name).origin
    if origin.script is None:
        raise UserError(f"{name} has no script that records it: {origin.run}")
    if origin.script not in NEEDS:
        raise UserError(f"{name}.json names a script that museum/originals does not have: {origin.script}")
    if python is None:
        raise UserError(f"name an interpreter with --python, for {origin.script}: {NEEDS[origin.script]}")
    command = words(python)
    make_folder(folder)
    found = run(command, origin.script, origin.environment, timeout)
    version, interpreter = (found.pop(key).astype(str) for key in TEXTS)  # of Python 2 they are bytes
    new = replace(
        origin,
        version=str(version),
        interpreter=str(interpreter),
        obtained=f"--python '{python}'",
        processor=f"{processor()}, one thread",
        date=date.today().isoformat(),
    )
    for path in write(folder, name, new, found):
        click.echo(path)
    output().print("\n".join(compared(name, found)))


def words(command: str) -> list[str]:
    """The words of a command.

    Raises:
        UserError: there is none, or a quotation has no end.
    """
    try:
        found = shlex.split(command)
    except ValueError as error:
        raise UserError(f"--python {command}: {error}") from error
    if not found:
        raise UserError("--python: name an interpreter")
    return found


def make_folder(folder: Path) -> None:
    """Make the folder of the new recording, and see that it can be written to.

    Raises:
        UserError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    check_writable(folder / "recording.npz")


def run(
    command: Sequence[str], script: str, environment: Mapping[str, str], timeout: float
) -> dict[str, np.ndarray]:
    """The arrays that a script of originals/ returns from an interpreter.

    Raises:
        UserError: the interpreter is missing, or the script fails there: its last line.
    """
    environment = {k: v for k, v in os.environ.items() if k not in NOT_OURS} | ONE_THREAD | dict(environment)
    try:
        done = subprocess.run(
            [*command, "-c", PROTOCOL.read_text(encoding="utf-8")],
            input=question(ORIGINALS / script),
            capture_output=True,
            env=environment,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise UserError(f"{command[0]}: {error.strerror}; for {script}: {NEEDS[script]}") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{shlex.join(command)}: no answer within {timeout:g} seconds") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        missing = "import" in said[-1] or "No module" in said[-1]
        raise UserError(f"{shlex.join(command)}: {said[-1]}{f'; {NEEDS[script]}' if missing else ''}")
    return answer(done.stdout, shlex.join(command))


def question(script: Path) -> bytes:
    """The npz for originals/protocol.py: the script, the weights, the digits, lenet_caffe's texts."""
    digits, course = test_set(), caffe_training.course()
    arrays = {
        "script": np.frombuffer(script.read_bytes(), np.uint8),
        "images": digits[: recorded.LOGIT_DIGITS].images,
        "coarse": coarsen(digits[: recorded.EXACT_DIGITS].images),
        "labels": digits[: caffe_training.STEPS * caffe_training.BATCH].labels,
        "rates": np.array([batch.rate for batch in course.batches]),
        "momentum": np.array(course.recipe.momentum),
        "weight_decay": np.array(course.recipe.weight_decay),
    }
    arrays |= {f"file.{path.name}": np.frombuffer(path.read_bytes(), np.uint8) for path in PROTOTXT}
    arrays |= {f"trained.{name}": array for name, array in weights.read().items()}
    arrays |= {f"exact.{name}": array for name, array in weights.read(EXACT).items()}
    with TemporaryDirectory() as folder:
        path = Path(folder, "question.npz")
        write_npz(path, arrays)
        return path.read_bytes()


def answer(content: bytes, source: str) -> dict[str, np.ndarray]:
    """The arrays of an answer: those of a recording, and two texts.

    Raises:
        UserError: it is no npz file, or its arrays are not those of a recording.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "answer.npz")
        path.write_bytes(content)
        try:
            found = dict(read_npz(path))
        except UserError as error:
            said = content[:60].decode(errors="replace")
            raise UserError(f"{source}: answered {said!r}, which is no recording") from error
    shapes = recorded.SHAPES | (caffe_training.SHAPES if "w1.conv1.weight" in found else {})
    texts = {key: found.pop(key, np.array("unknown")) for key in TEXTS}
    return recorded.checked(found, shapes, source) | texts


def write(folder: Path, name: str, origin: Origin, found: Mapping[str, np.ndarray]) -> Iterator[Path]:
    """Write a recording, and the training steps if there are any, each with its origin."""
    parts = {name: recorded.SHAPES}
    if found.keys() & caffe_training.SHAPES.keys():
        parts[caffe_training.STEPS_NAME] = caffe_training.SHAPES
    for stem, shapes in parts.items():
        path = folder / f"{stem}.npz"
        write_npz(path, {key: np.ascontiguousarray(found[key]) for key in shapes})
        exact = exact_bits.sha256(found[recorded.EXACT]) if stem == name else ""
        run = recorded.read_origin(stem).run
        new = replace(origin, run=run, sha256=recorded.sha256(path), sha256_exact=exact)
        write_atomically(path.with_suffix(".json"), json.dumps(vars(new), indent=2) + "\n")
        yield path


def compared(name: str, found: Mapping[str, np.ndarray]) -> Iterator[str]:
    """How the new arrays differ from those of the museum, in a line for each kind."""
    old = recorded.read(name)
    kinds = {
        "exact logits": {recorded.EXACT: old.exact},
        "logits": {recorded.LOGITS: old.logits},
        "layers": {recorded.LAYERS + layer: y for layer, y in old.layers.items()},
    }
    if found.keys() & caffe_training.SHAPES.keys():
        kinds["training steps"] = caffe_training.read_steps()
    for kind, arrays in kinds.items():
        size = sum(array.size for array in arrays.values())
        equal = sum(int((array == found[key]).sum()) for key, array in arrays.items())
        most = max(float(np.abs(array - found[key]).max()) for key, array in arrays.items())
        apart = "" if equal == size else f", the largest difference is {most:.2g}"
        yield f"{kind}: {equal:,} of {size:,} values are those of the museum's recording{apart}"


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


if __name__ == "__main__":
    record(prog_name="python -m museum.record")
