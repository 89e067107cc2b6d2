"""The house, read from the source: imports run one way, names tell modules apart, folders are small.

Each rule is a function that takes the root of a tree and returns its breaches, so that a planted breach in
a tree of a few files shows that it can fail.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

import lenet
import parity
from lenet.commands.cli import cli
from lenet.ports import FRAMEWORKS
from parity.operators import FAMILIES

ROOT = Path(__file__).parents[2]
# A part of `lenet` imports parts of a lower floor, and itself. `compare` and `diagnose` share a floor, so
# neither imports the other.
FLOORS = {
    "": 0,  # `lenet` itself: its version, and the public names, which it imports when they are asked for
    "network": 1,
    "reference": 2,
    "ports": 3,
    "compare": 4,
    "diagnose": 4,
    "show": 5,
    "testing": 6,
    "commands": 6,
    "__main__": 7,
}
WITH_EXPORT = {"commands"}  # the only part that imports `export` and `museum`
PARALLEL = ("model", "weights", "train", "port")  # the same files in every port
FOR_PORTS = ("lenet.network", "parity.errors")  # all of this that a port's model, weights and train see
ONNX = ("parity/onnx", "parity/record", "parity/record/frameworks")  # who may need onnx to be imported at all
RUNTIMES = (
    "parity/record",
    "parity/record/frameworks",
)  # whose functions import runtimes and frameworks, where somebody asks for one
FRAMEWORK = {
    "torch",
    "tensorflow",
    "keras",
    "jax",
    "flax",
    "pytensor",
    "theano",
    "cv2",
    "onnx",
    "onnxruntime",
    "openvino",
}
TERMINAL = {"rich", "click"}
# Why two modules have the same file name. Whoever adds a line should rather find a better name.
OPERATORS = "a family of operators, and the known mistakes in layers of that kind"
FAMILY = "a family of mistakes: its entries in the catalogue, and its planted ports in the gallery"
SAME_NAME = {
    "reduction": OPERATORS,
    "data": FAMILY,
    "gradients": FAMILY,
    "loss": FAMILY,
    "optimizer": FAMILY,
    "precision": FAMILY,
    "forward": "the forward pass in float64, and the gallery's family of mistakes in it",
    "testing": "the assertion that a package has for anybody's test suite",
    "layers": "the layers of a port that writes them out: NumPy's and Theano's, side by side",
}
# One file per subcommand or family, looked up by its name.
KEYED = {"lenet/commands", "lenet/diagnose/mistakes", "parity/operators"}
MOST = 10  # entries of a folder that a reader must choose from


def imported(path: Path, *, at_once: bool = False) -> set[str]:
    """Every module, and every name of a module, that the file imports: `from a import b` gives `a.b`.

    Args:
        at_once: those alone that are imported with the file, not later by a function of it.
    """
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), at_once):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def statements(node: ast.AST, at_once: bool) -> Iterator[ast.AST]:
    """Everything beneath a node; without the bodies of functions, and what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if at_once and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_once and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child, at_once)


def inside(module: str, packages: Iterable[str]) -> bool:
    """Whether the module is one of these, or part of one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def part(name: str) -> str:
    """The part of `lenet` that a name belongs to: "network" of `lenet.network.weights`."""
    first = name.split(".")[1] if "." in name else ""
    return "" if first == "__version__" else first


def sources(root: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((root / folder).rglob("*.py"))


def ports(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("lenet_*") if path.is_dir())


# --- the rules ---------------------------------------------------------------------------------


def parity_beyond_itself(root: Path) -> list[str]:
    """Imports of `parity` that reach above it, or load a framework where nobody has asked for one."""
    found = []
    above = ("lenet", "export", "workshop", "tests", *ports(root))
    for path in sources(root, "parity"):
        folder = str(path.relative_to(root).parent)
        wrong = {name for name in imported(path) if inside(name, above)}
        at_once = {name for name in imported(path, at_once=True) if inside(name, FRAMEWORK)}
        wrong |= {name for name in at_once if not (inside(name, ["onnx"]) and folder in ONNX)}
        if folder not in RUNTIMES:
            wrong |= {name for name in imported(path) if inside(name, FRAMEWORK - {"onnx"})}
        found += [f"{path.relative_to(root)}: {name}" for name in sorted(wrong)]
    return found


def against_the_order(root: Path) -> list[str]:
    """Imports of `lenet` that run upwards, or across a floor."""
    found = []
    for path in sources(root, "lenet"):
        where = path.relative_to(root / "lenet").with_suffix("").parts[0]
        own = "" if where == "__init__" else where
        for name in sorted(imported(path, at_once=not own)):  # `lenet` itself imports what it is asked for
            package, other = name.partition(".")[0], part(name)
            if package == "lenet":
                wrong = other != own and FLOORS.get(other, 99) >= FLOORS.get(own, -1)
            elif package in ("export", "museum"):
                wrong = own not in WITH_EXPORT
            else:
                wrong = package in ("workshop", "tests", *ports(root))
            if wrong:
                found.append(f"{path.relative_to(root)}: {name}")
    return found


def ports_that_see_more(root: Path) -> list[str]:
    """Imports in a port's model, weights or train beyond its framework, the network and errors."""
    return [
        f"{path.relative_to(root)}: {name}"
        for folder in ports(root)
        for path in sources(root, folder)
        if path.stem in ("model", "weights", "train")
        for name in sorted(imported(path))
        if inside(name, ["lenet", "parity"]) and not inside(name, FOR_PORTS)
    ]


def network_beyond_facts(root: Path) -> list[str]:
    """Frameworks, and what draws on a terminal, imported by the network."""
    return [
        f"{path.relative_to(root)}: {name}"
        for path in sources(root, "lenet/network")
        for name in sorted(imported(path))
        if inside(name, FRAMEWORK | TERMINAL)
    ]


def shared_names(root: Path, subcommands: Iterable[str] = ()) -> dict[str, list[str]]:
    """Modules with the same file name, by that name."""
    found: dict[str, list[str]] = {}
    for path in sources(root, "parity", "lenet", *ports(root), "export", "museum", "workshop"):
        folder = str(path.relative_to(root).parent)
        if path.stem in ("__init__", "__main__", "port"):
            continue
        if (path.stem in PARALLEL and folder in ports(root)) or (
            folder == "lenet/commands" and path.stem in subcommands
        ):
            continue
        found.setdefault(path.stem, []).append(str(path.relative_to(root)))
    return {stem: paths for stem, paths in found.items() if len(paths) > 1}


def crowded(root: Path) -> list[str]:
    """Folders of `parity` and `lenet` with more entries than a reader can choose from."""
    tops = [root / "parity", root / "lenet"]
    folders = [*tops, *(path for top in tops for path in top.rglob("*") if path.is_dir())]
    found = []
    for folder in sorted(folders):
        name = str(folder.relative_to(root))
        entries = [path for path in folder.iterdir() if path.stem[:2] != "__"]
        if "__pycache__" not in name and name not in KEYED and len(entries) > MOST:
            found.append(f"{name}: {len(entries)}")
    return found


# --- this house keeps them ---------------------------------------------------------------------


def test_parity_stands_by_itself():
    assert parity_beyond_itself(ROOT) == []


def test_every_family_of_operators_is_known():
    registering = {
        path.stem for path in sources(ROOT, "parity/operators") if "\n@register\n" in path.read_text("utf-8")
    }
    assert registering == set(FAMILIES)


def test_imports_run_one_way():
    assert against_the_order(ROOT) == []
    assert {part(f"lenet.{path.stem}") for path in (ROOT / "lenet").iterdir()} - {
        "__init__",
        "__pycache__",
    } == (FLOORS.keys() - {""})


def test_a_port_sees_the_network_alone():
    assert ports_that_see_more(ROOT) == []
    assert set(ports(ROOT)) >= {
        line.module.partition(".")[0] for line in FRAMEWORKS.values() if line.module.startswith("lenet_")
    }


@pytest.mark.parametrize("package", [lenet, parity])
def test_every_public_name_is_there(package):
    for name in package.__all__:
        assert getattr(package, name).__module__.partition(".")[0] in ("lenet", "parity"), name
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_the_network_is_facts():
    assert network_beyond_facts(ROOT) == []


def test_no_two_modules_share_a_name_but_for_a_reason():
    """A reason of the table that is no longer needed fails too."""
    assert shared_names(ROOT, cli.commands).keys() == SAME_NAME.keys()
    families = [
        paths for stem, paths in shared_names(ROOT, cli.commands).items() if SAME_NAME[stem] == FAMILY
    ]
    assert {Path(path).parent for paths in families for path in paths} == {
        Path("lenet/diagnose/mistakes"),
        Path("workshop/bugs"),
    }


def test_no_folder_is_crowded():
    assert crowded(ROOT) == []


# --- each rule can fail ------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path) -> Callable[[str, str], Path]:
    """A tree in which all is well, with one more file."""
    well = {
        "parity/errors.py": "",
        "parity/operators/cast.py": "import numpy\ndef f():\n    from onnx import numpy_helper\n",
        "parity/onnx/reading.py": "import onnx\nfrom parity.errors import UserError\n",
        "parity/record/sessions.py": "import onnx\ndef f():\n    import onnxruntime, cv2\n",
        "lenet/__init__.py": "__version__ = '1'\n",
        "lenet/network/recipe.py": "import numpy\nfrom parity.errors import UserError\n",
        "lenet/compare/speed.py": "from lenet.network import recipe\n",
        "lenet/diagnose/findings.py": "from lenet import __version__\nfrom lenet.network import recipe\n",
        "lenet/commands/speed_up.py": "from export import write\nfrom lenet.compare import speed\n",
        "lenet_numpy/model.py": "from lenet.network import recipe\n",
        "lenet_torch/model.py": "import torch\nfrom parity.errors import UserError\n",
        "export/write.py": "from lenet.commands import options\n",
        "workshop/checks/marking.py": "",
    }

    def built(file: str, text: str) -> Path:
        for name, content in (well | {file: text}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return tmp_path

    return built


def test_a_house_in_order_has_no_breach(house):
    root = house("parity/errors.py", "")
    for rule in (parity_beyond_itself, against_the_order, ports_that_see_more, network_beyond_facts, crowded):
        assert rule(root) == []
    assert shared_names(root) == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("lenet/network/digits.py", "from lenet.reference.forward import reference"),
        ("lenet/network/digits.py", "from lenet import compare"),
        ("lenet/reference/forward.py", "def f():\n    import lenet.ports.contract"),
        ("lenet/compare/bits.py", "from lenet.diagnose import findings"),
        ("lenet/diagnose/explain.py", "from lenet.compare.speed import ratio"),
        ("lenet/show/tables.py", "from lenet.commands import options"),
        ("lenet/show/tables.py", "from export import write"),
        ("lenet/show/tables.py", "from museum import recorded"),
        ("lenet/ports/registry.py", "import lenet_numpy.model"),
        ("lenet/commands/learn.py", "from workshop import checks"),
        ("lenet/network/digits.py", "from lenet.ports import quiet"),
        ("lenet/attic.py", "from lenet.network import recipe"),
    ],
)
def test_an_import_against_the_order_is_seen(house, file, text):
    breaches = against_the_order(house(file, text))
    assert [breach.partition(":")[0] for breach in breaches] == [file]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("parity/files.py", "from lenet.network import recipe"),
        ("parity/files.py", "def f():\n    import lenet_numpy.model"),
        ("parity/record/npz.py", "from export import write"),
        ("parity/record/npz.py", "import onnxruntime"),
        ("parity/record/npz.py", "class A:\n    import torch"),
        ("parity/operators/affine.py", "from onnx import helper"),
        ("parity/graph.py", "def f():\n    import torch"),
        ("parity/onnx/flatten.py", "def f():\n    import onnxruntime"),
    ],
)
def test_parity_beyond_itself_is_seen(house, file, text):
    breaches = parity_beyond_itself(house(file, text))
    assert [breach.partition(":")[0] for breach in breaches] == [file]


@pytest.mark.parametrize("file", ["model", "weights", "train"])
@pytest.mark.parametrize(
    "text", ["from lenet import ports", "import lenet.reference.forward", "import lenet", "import parity"]
)
def test_a_port_that_sees_more_is_seen(house, file, text):
    root = house(f"lenet_torch/{file}.py", text)
    assert [breach.partition(":")[0] for breach in ports_that_see_more(root)] == [f"lenet_torch/{file}.py"]


@pytest.mark.parametrize("text", ["import torch", "from jax import numpy", "from rich.table import Table"])
def test_a_network_beyond_facts_is_seen(house, text):
    root = house("lenet/network/weights/__init__.py", f"def f():\n    {text}")
    assert len(network_beyond_facts(root)) == 1


@pytest.mark.parametrize(
    "file",
    [
        "workshop/speed.py",
        "export/recipe.py",
        "lenet_torch/marking.py",
        "export/model.py",
        "lenet/show/reading.py",
    ],
)
def test_a_shared_name_is_seen(house, file):
    root = house(file, "")
    if file == "export/model.py":  # a port's file is parallel in a port's folder alone
        root = house("workshop/model.py", "")
    assert shared_names(root).keys() == {Path(file).stem}


def test_a_subcommand_may_have_the_name_of_what_it_runs(house):
    root = house("lenet/commands/speed.py", "")
    assert shared_names(root).keys() == {"speed"}
    assert shared_names(root, ["speed"]) == {}


@pytest.mark.parametrize(("folder", "seen"), [("show/page", True), ("show", True), ("commands", False)])
def test_a_crowded_folder_is_seen(house, folder, seen):
    for k in range(MOST):
        root = house(f"lenet/{folder}/module{k}.py", "")
    assert crowded(root) == []
    root = house(f"lenet/{folder}/one_more.toml", "")
    assert crowded(root) == ([f"lenet/{folder}: {MOST + 1}"] if seen else [])


def unpinned(workflow: str) -> list[str]:
    """The actions of a workflow that are not named by a commit, which nobody can move."""
    used = re.findall(r"uses:\s*(\S+)", workflow)
    return [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)]


def test_actions_are_pinned_to_commits():
    assert unpinned("      - uses: actions/checkout@v6\n") == ["actions/checkout@v6"]
    workflows = sorted(ROOT.glob(".github/workflows/*.yml"))
    assert workflows
    assert [action for one in workflows for action in unpinned(one.read_text())] == []
