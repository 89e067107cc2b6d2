"""The rules of the house: imports run one way, names tell modules apart, folders and files are small.

Each rule is a function that takes the root of a tree and returns its breaches, so that a planted breach in
a tree of a few files shows that it can fail.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

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
# One file per subcommand or family, looked up by its name.
KEYED = {"lenet/commands", "lenet/diagnose/mistakes", "parity/operators"}
MOST = 10  # entries of a folder that a reader must choose from
LONGEST = 400  # lines of a file of tests that a reader can keep in view


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


def long_tests(root: Path) -> list[str]:
    """Files of the tests that are longer than a reader can keep in view."""
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(root, "tests")}
    return [f"{path.relative_to(root)}: {lines}" for path, lines in counted.items() if lines > LONGEST]


def imports_of_tests(root: Path) -> list[str]:
    """Imports of test files by others: what two of them need is a module of its own."""
    return [
        f"{path.relative_to(root)}: {name}"
        for path in sources(root, "tests")
        for name in sorted(imported(path))
        if inside(name, ["tests"]) and ".test_" in name
    ]


def unpinned(workflow: str) -> list[str]:
    """The actions of a workflow that are not named by a commit, which nobody can move."""
    used = re.findall(r"uses:\s*(\S+)", workflow)
    return [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)]
