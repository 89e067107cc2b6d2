"""The wheel: it holds everything, it runs on the base alone, and what is missing is told with its line.

The clean environment holds the wheel and the distributions of the base, which are links to those of the
environment that runs the tests: nothing is downloaded, and nothing else can be imported there.
"""

import json
import re
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lenet import ports
from parity.errors import EXTRAS, extra_of, install_line, pip
from tests.conftest import unavailable
from tests.house.installed import PACKAGES, ROOT, closure, done, requirements, run, top_level

pytestmark = pytest.mark.slow


def installs(module: str) -> str:
    """The line that installs a module, in an environment that is activated."""
    return install_line(module).replace(pip(), "pip", 1)


TORCH, TENSORFLOW, THEANO = map(installs, ("torch", "tensorflow", "pytensor"))
CV2, OPENVINO = map(installs, ("cv2", "openvino"))
PLOT, PILLOW, POOCH, JINJA = map(installs, ("matplotlib", "PIL", "pooch", "jinja2"))


# --- what is built -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel made of the tree, and the one made of the source distribution."""
    try:
        import hatchling  # noqa: F401
    except ImportError:
        unavailable("nothing to build with: pip install 'lenet-migrations[dev]'")
    place = tmp_path_factory.mktemp("built")
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w")
    done(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", place)
    (source,) = place.glob("*.tar.gz")
    done(*build, place / "tree", ROOT)
    done(*build, place / "source", source)
    (tree,), (unpacked,) = ((place / name).glob("*.whl") for name in ("tree", "source"))
    return tree, unpacked


def test_the_source_distribution_makes_the_same_wheel(built: tuple[Path, Path]) -> None:
    tree, unpacked = built
    assert tree.name == unpacked.name
    assert tree.read_bytes() == unpacked.read_bytes()


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    kinds = {Path(name).suffix for name in held}
    assert {".py", ".gz", ".safetensors", ".jinja", ".toml", ".css", ".js", ".prototxt", ".proto"} <= kinds


# --- the clean environment ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def clean(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel and the base alone."""
    place = tmp_path_factory.mktemp("clean")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    (place / "bin" / "pip").touch(mode=0o755)  # so that hints name it; it is not run
    (packages,) = place.glob("lib/python*/site-packages")
    with zipfile.ZipFile(built[0]) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        text = wheel.read(metadata).decode()
    asked = requirements(re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE))
    for name, target in top_level(closure(asked)):
        (packages / name).symlink_to(target)
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    done(sys.executable, "-m", "pip", "--python", python, *install, built[0])
    done(sys.executable, "-m", "pip", "--python", python, "check")
    return place / "bin"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with conv.onnx, what it computes in right.npz, and with another stride in wrong.npz."""
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((1, 2, 6, 7), (3, 2, 1, 1)))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", strides=[2, 2])],
        "one convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 3, 4))],
        [numpy_helper.from_array(w, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "conv.onnx")
    y = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x)
    np.savez(folder / "right.npz", x=x, y=y[:, :, ::2, ::2])
    np.savez(folder / "wrong.npz", x=x, y=y[:, :, 1::2, ::2])
    return folder


def test_the_environment_has_the_base_and_no_framework(clean: Path) -> None:
    """Were it not so, nothing below would mean anything."""
    code = "import sys, importlib.util as u; print(*(m for m in sys.argv[1:] if u.find_spec(m)))"
    modules = [module for brought in EXTRAS.values() for module in brought]
    base = ["numpy", "onnx", "onnxruntime", "parity", "lenet", "lenet_torch", "export"]
    found = run(clean / "python", "-I", "-c", code, *modules, *base, "tests", "workshop").stdout.split()
    assert found == ["pygments", *base]  # which comes with rich


def test_both_packages_are_imported_from_there(clean: Path, tmp_path: Path) -> None:
    code = "import lenet, parity; print(lenet.__file__, parity.__file__, parity.judge, lenet.__version__)"
    shown = run(clean / "python", "-c", code, folder=tmp_path).stdout
    assert shown.count(str(clean.parent)) == 2


@pytest.mark.parametrize("command", ["parity --help", "parity --version", "lenet --help", "lenet --version"])
def test_the_commands_are_there(clean: Path, command: str, tmp_path: Path) -> None:
    program, option = command.split()
    result = run(clean / program, option, folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert program in result.stdout


@pytest.mark.parametrize(
    ("options", "code", "verdicts"),
    [
        ([], 0, {"rounding", "equal"}),
        (["--values", "right.npz"], 0, {"rounding", "equal"}),
        (["--values", "wrong.npz"], 1, {"different"}),
    ],
    ids=["onnxruntime", "right", "wrong"],
)
def test_the_base_judges_an_onnx_file(
    clean: Path, model: Path, options: list[str], code: int, verdicts: set[str]
) -> None:
    result = run(clean / "parity", "judge", "conv.onnx", *options, "--json", "-", folder=model)
    assert (result.returncode, result.stderr) == (code, "")
    found = {one["tensor"]: one["verdict"] for one in json.loads(result.stdout)["tensors"]}
    assert found["y"] in verdicts


def test_the_base_compares_the_ports_that_need_no_framework(clean: Path, tmp_path: Path) -> None:
    """And says of each other port how to get it."""
    result = run(clean / "lenet", "compare", "--digits", 20, "--json", "found.json", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    compared = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["ports"]
    assert [(one["name"], one["verdict"]) for one in compared] == [
        ("numpy", "rounding"),
        ("numpy:fast", "rounding"),
    ]
    for name, module in (("torch", "torch"), ("tf", "tensorflow"), ("jax", "jax"), ("caffe", "cv2")):
        assert f"not run  port '{name}' needs {module}: {installs(module)}" in result.stdout


def test_the_base_shows_what_is_missing_and_one_line_for_all(clean: Path, tmp_path: Path) -> None:
    shown = run(clean / "lenet", "ports", folder=tmp_path).stdout
    assert re.search(r"^numpy:fast +numpy +\d\S+ +— *$", shown, re.MULTILINE)
    assert re.search(r"^onnx:numpy/reference +onnx +\d\S+ +— *$", shown, re.MULTILINE)
    assert re.search(r"^onnx:torch/reference +onnx +no +torch, export *$", shown, re.MULTILINE)
    needed = [module for name in ports.names(forward_only=True) for module in ports.needed(name)]
    line = install_line(*(module for module in needed if extra_of(module))).replace(pip(), "pip", 1)
    assert line.startswith("pip install 'lenet-migrations[torch,tensorflow,jax,")
    assert shown.endswith(f"all that is missing: {line}\n")


@pytest.mark.parametrize(
    "command",
    [
        "exact --digits 20",
        "export --from numpy --digits 5",
        "predict --digit 0",
        "migrations",
        "museum",
        "museum mxnet",
        "check numpy",
    ],
)
def test_what_needs_no_framework_runs(clean: Path, command: str, tmp_path: Path) -> None:
    result = run(clean / "lenet", *command.split(), folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_file_of_the_users_own_is_told_too(clean: Path, tmp_path: Path) -> None:
    """The template is written in PyTorch."""
    (tmp_path / "my_port.py").write_text(run(clean / "lenet", "check", "--template").stdout, encoding="utf-8")
    result = run(clean / "lenet", "check", "my_port.py", folder=tmp_path)
    assert (result.returncode, result.stderr) == (1, "")
    assert f"torch is not installed: {TORCH}" in result.stdout


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("lenet compare torch", 1, f"port 'torch' needs torch: {TORCH}"),
        ("lenet compare numpy tf1", 1, f"port 'tf1' needs tensorflow: {TENSORFLOW}"),
        ("lenet predict --digit 1 --port theano", 1, f"port 'theano' needs pytensor: {THEANO}"),
        ("lenet export --from torch", 1, "exporter 'torch' needs torch, onnxscript: "),
        ("lenet predict digit.png", 1, f"PIL is not installed: {PILLOW}"),
        ("lenet data --data digits", 1, f"pooch is not installed: {POOCH}"),
        ("lenet diff torch tf", 1, f"jinja2 is not installed: {JINJA}"),
        ("lenet report", 1, f"jinja2 is not installed: {JINJA}"),
        ("lenet train --compare 2", 1, f"a plot needs matplotlib: {PLOT}"),
        ("lenet bench --plot plot.png", 1, f"a plot needs matplotlib: {PLOT}"),
        ("lenet migrations --timeline plot.svg", 1, f"a plot needs matplotlib: {PLOT}"),
        ("lenet workshop 1", 1, "the workshop is not part of the installed package"),
        ("python -m lenet_caffe write files", 1, f"port 'caffe' needs cv2: {CV2}"),
        ("parity judge conv.onnx --runtime opencv", 2, f"opencv is not installed: {CV2}"),
        ("parity judge conv.onnx --html page.html", 2, f"jinja2 is not installed: {JINJA}"),
        ("parity judge conv.onnx --runtime openvino", 2, f"openvino is not installed: {OPENVINO}"),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    clean: Path, model: Path, command: str, code: int, line: str
) -> None:
    before = set(model.iterdir())
    program, *arguments = command.split()
    result = run(clean / program, *arguments, folder=model)
    assert result.stderr.startswith(f"error: {line}")
    assert len(result.stderr.splitlines()) == 1
    assert (result.returncode, result.stdout) == (code, "")
    assert set(model.iterdir()) == before
