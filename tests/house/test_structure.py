"""The parallel structure, read from the source: nothing here imports a framework.

Every `lenet_*` folder of the registry has the same files with the same names in the same order, so
that a diff of two of them reads as a migration. A difference that must be stands in the `about.toml` of
the port, with its reason; an entry that no longer differs fails too. docs/adding.md explains both.
"""

import ast
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from lenet.ports import FRAMEWORKS

ROOT = Path(__file__).parents[2]
FILES = ("model.py", "weights.py", "train.py", "port.py")
FOLDERS = {
    line.module.partition(".")[0]: line.package
    for line in FRAMEWORKS.values()
    if line.module.startswith("lenet_")
}
REFERENCE = "lenet_numpy"
FORWARD = {line.module.partition(".")[0] for line in FRAMEWORKS.values() if line.forward_only}
OTHERS = [folder for folder in FOLDERS if folder != REFERENCE]

# {folder: its about.toml}, which says how the port differs, and why: docs/adding.md.
ABOUT = {
    folder: tomllib.loads(path.read_text("utf-8")) if (path := ROOT / folder / "about.toml").is_file() else {}
    for folder in FOLDERS
}
NAMES = {  # (folder, file, name): why this folder has it, or lacks it
    (folder, file, name): reason
    for folder, about in ABOUT.items()
    for file, reasons in about.get("differs", {}).items()
    for name, reason in reasons.items()
}
# (file, name): why its docstring opens otherwise in some folder.
DOCSTRINGS = {
    ("model.py", "LeNet"): "gives the shape of the images in the framework's layout",
    ("weights.py", "images_to_framework"): "names the framework's layout",
    ("weights.py", "activations_to_shared"): "names the framework's layout",
    ("train.py", "SGD"): "Caffe's rule is another",
    ("port.py", "Port"): "names the framework and its modes",
}
# What the contract does as most frameworks have it, and an adapter may do in its own way.
SAID_DIFFERENTLY = {"_scope", "_load", "_tensor"}
# What a folder imports beside its framework's package, NumPy and the standard library.
FACTS = {"lenet.network.architecture", "lenet.network.recipe", "parity.errors"}  # no mathematics
SHARED = FACTS | {"threadpoolctl"}  # and the number of threads
HARNESS = {"lenet", "lenet.ports", "lenet.ports.quiet"}  # port.py alone
COMMAND = {
    "lenet",
    "lenet.ports",
    "parity.files",
    "lenet.commands",
    "lenet.network",
    "lenet.network.architecture",
    "lenet.network.weights",
    "click",
}
COMMANDS = {"__main__.py", "caffemodel.py"}  # a command beside the port, and the files that it writes
# Packages that are part of a framework: keras comes with TensorFlow; Caffe's files are protobuf's.
BESIDE = {folder: set(about.get("imports", ())) for folder, about in ABOUT.items()}
HEAVY = {name for line in FRAMEWORKS.values() for names in line.needs.values() for name in names}
HEAVY |= {*FOLDERS, *(line.package for line in FRAMEWORKS.values())}.union(*BESIDE.values())
HEAVY -= {"numpy"}  # what only an opened port may load

Definition = ast.FunctionDef | ast.ClassDef


@cache
def tree(*path: str) -> ast.Module:
    return ast.parse(ROOT.joinpath(*path).read_text(encoding="utf-8"))


def public(name: str) -> bool:
    return not name.startswith("_") or name.startswith("__")


def definitions(module: ast.Module | ast.ClassDef, prefix: str = "") -> dict[str, Definition]:
    """Public functions, classes and methods ("Class.method"), in the order of the source."""
    found: dict[str, Definition] = {}
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and public(node.name):
            found[prefix + node.name] = node
            if isinstance(node, ast.ClassDef):
                found |= definitions(node, f"{node.name}.")
    return found


def names(folder: str, file: str) -> list[str]:
    """What the file defines in public: constants, then functions, classes and methods."""
    module = tree(folder, file)
    constants = [
        leaf.id
        for node in module.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for leaf in ast.walk(node)
        if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store) and public(leaf.id)
    ]
    return constants + list(definitions(module))


def imports(module: ast.Module) -> set[str]:
    """Every module that is imported anywhere in the source, by its full name."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute, so that folders can be compared"
            found.add("." * node.level + node.module)
    return found


def sources(*folders: str) -> list[Path]:
    return [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def parameters(node: Definition) -> list[str]:
    """Names of a function's parameters; a class has none of its own."""
    if isinstance(node, ast.ClassDef):
        return []
    return [argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]


def opening(node: ast.Module | Definition) -> str:
    """The docstring's first line, up to the colon or full stop after which folders go their own way."""
    line = (ast.get_docstring(node) or "").partition("\n")[0]
    return line.partition(":")[0].partition(".")[0]


# --- the same files, names, signatures, words --------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_the_files(folder):
    lacking = {"__init__.py", "about.toml", *FILES} - {path.name for path in (ROOT / folder).iterdir()}
    assert not lacking, f"{folder} lacks {', '.join(sorted(lacking))}: start from another port's"
    assert [node for node in tree(folder, "__init__.py").body if not isinstance(node, ast.Expr)] == []


def advice(folder: str, file: str, ours: list[str], theirs: list[str]) -> str:
    """What to do so that a port's names are those of the reference, in its order; empty if they are."""
    where = f"in {folder}/about.toml under [differs.{file!r}], with the reason"
    lines = [
        *(
            f"define {name}, as {REFERENCE}/{file} does, or list it {where}"
            for name in theirs
            if name not in ours
        ),
        *(f"rename {name} to _{name}, or list it {where}" for name in ours if name not in theirs),
    ]
    if not lines and ours != theirs:
        lines = [f"put the definitions in this order: {', '.join(theirs)}"]
    return "\n".join(f"{folder}/{file}: {line}" for line in lines)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("folder", OTHERS)
def test_every_file_defines_the_same_names_in_the_same_order(folder, file):
    def compared(one: str, other: str) -> list[str]:
        return [n for n in names(one, file) if not {(one, file, n), (other, file, n)} & NAMES.keys()]

    found = advice(folder, file, compared(folder, REFERENCE), compared(REFERENCE, folder))
    assert not found, found


def test_the_advice_names_what_is_missing_what_is_more_and_the_order():
    assert advice("lenet_mine", "train.py", ["a", "b"], ["a", "b"]) == ""
    more, order = (advice("lenet_mine", "train.py", ours, ["a", "b"]) for ours in (["a", "c"], ["b", "a"]))
    assert more.splitlines() == [
        "lenet_mine/train.py: define b, as lenet_numpy/train.py does, or list it in lenet_mine/about.toml "
        "under [differs.'train.py'], with the reason",
        "lenet_mine/train.py: rename c to _c, or list it in lenet_mine/about.toml under "
        "[differs.'train.py'], with the reason",
    ]
    assert order == "lenet_mine/train.py: put the definitions in this order: a, b"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("folder", OTHERS)
def test_every_function_has_the_same_parameters(folder, file):
    ours, theirs = definitions(tree(folder, file)), definitions(tree(REFERENCE, file))
    for name in ours.keys() & theirs.keys():
        assert parameters(ours[name]) == parameters(theirs[name]), (
            f"{folder}/{file}: name the parameters of {name} as {REFERENCE}/{file} does"
        )


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_docstring_opens_with_the_same_words(folder, file):
    assert opening(tree(folder, file)) == opening(tree(REFERENCE, file)) != ""
    ours, theirs = definitions(tree(folder, file)), definitions(tree(REFERENCE, file))
    for name, node in ours.items():
        if "__" not in name:
            assert opening(node), f"{folder}/{file}: {name} has no docstring"
            if name in theirs and (file, name) not in DOCSTRINGS:
                assert opening(node) == opening(theirs[name]), (
                    f"{folder}/{file}: open the docstring of {name} with {opening(theirs[name])!r}; after a "
                    f"colon or a full stop it may go its own way"
                )


@pytest.mark.parametrize(("folder", "file", "name"), NAMES)
def test_a_name_that_a_port_lists_still_differs(folder, file, name):
    has = {one: name in names(one, file) for one in FOLDERS}
    assert len(set(has.values())) == 2, (
        f"every port {'has' if has[folder] else 'lacks'} {name}: delete it from {folder}/about.toml"
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_port_lists_names_of_files_that_are_compared(folder):
    assert set(ABOUT[folder].get("differs", {})) <= set(FILES)
    assert ABOUT[folder].keys() <= {"imports", "history", "differs"}


@pytest.mark.parametrize(("file", "name"), DOCSTRINGS)
def test_a_docstring_in_the_table_still_differs(file, name):
    found = [definitions(tree(folder, file)).get(name) for folder in FOLDERS]
    assert len({opening(node) for node in found if node is not None}) > 1


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_adapter_implements_the_contract_in_its_order(folder):
    """A forward-only port leaves what it refuses to ForwardPort."""
    classes = {n.name: n for n in tree("lenet", "ports", "contract.py").body if isinstance(n, ast.ClassDef)}
    adapter = next(n for n in tree(folder, "port.py").body if getattr(n, "name", "") == "Port")
    assert isinstance(adapter, ast.ClassDef)
    base = "ForwardPort" if folder in FORWARD else "Port"
    assert [ast.unparse(one) for one in adapter.bases] == [f"ports.{base}"]
    theirs = {n.name: n for n in classes["Port"].body if isinstance(n, ast.FunctionDef)}
    abstract = [
        n for n in theirs.values() if any(ast.unparse(d) == "abstractmethod" for d in n.decorator_list)
    ]
    if folder in FORWARD:
        refused = {n.name for n in classes["ForwardPort"].body if isinstance(n, ast.FunctionDef)}
        abstract = [n for n in abstract if n.name not in refused]
    ours = [n for n in adapter.body if isinstance(n, ast.FunctionDef)]
    for own in ours:
        if own.name in theirs:
            assert parameters(own) == parameters(theirs[own.name]), own.name
    asked = [n.name for n in abstract]
    assert [n.name for n in ours if n.name in asked] == asked
    others = [n.name for n in ours if n.name not in asked]
    assert {name for name in others if name in theirs} <= SAID_DIFFERENTLY, (
        "what lies between the public methods and the framework is the contract's, not the port's"
    )
    own_helpers = [n.name for n in ours if n.name not in theirs]
    assert [n.name for n in ours[len(ours) - len(own_helpers) :]] == own_helpers, "helpers come last"
    assert not [name for name in own_helpers if public(name)]


# --- who imports what --------------------------------------------------------------------------


@pytest.mark.parametrize("path", sources(*FOLDERS), ids=str)
def test_a_port_imports_its_own_framework_and_no_other(path):
    """A NumPy port that borrowed another framework's convolution would be an echo, not a witness."""
    folder = path.parts[0]
    roots = {FOLDERS[folder], "numpy", folder, *BESIDE[folder], *sys.stdlib_module_names}
    roots -= {"importlib", "runpy"}  # nothing is imported behind this test's back
    allowed = SHARED | HARNESS if path.name == "port.py" else SHARED
    if path.name in COMMANDS:
        allowed = SHARED | COMMAND
    for module in imports(tree(*path.parts)) - allowed:
        assert module.partition(".")[0] in roots, (
            f"{path} imports {module}: if it is a part of {FOLDERS[folder]}, add "
            f"{module.partition('.')[0]!r} to `imports` in {folder}/about.toml"
        )


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_port_declares_to_import_it_imports(folder):
    used = {module.partition(".")[0] for path in sources(folder) for module in imports(tree(*path.parts))}
    assert BESIDE[folder] <= used, f"delete {BESIDE[folder] - used} from `imports` in {folder}/about.toml"


def test_the_numpy_layers_import_numpy_alone():
    assert imports(tree("lenet_numpy", "layers.py")) == {"typing", "numpy", "numpy.lib.stride_tricks"}


def test_what_no_framework_changes_imports_no_framework():
    """Nor, outside the registry, a port: `lenet.ports` imports it by name when it is opened."""
    imported = {
        path: {module.partition(".")[0] for module in imports(tree(*path.parts))} for path in sources("lenet")
    }
    assert not {path: modules & HEAVY for path, modules in imported.items() if modules & HEAVY}


@pytest.mark.slow
def test_importing_the_package_and_the_command_loads_no_framework():
    modules = [".".join(path.with_suffix("").parts) for path in sources("lenet") if path.stem[0] != "_"]
    assert {"lenet.ports.registry", "lenet.commands.cli"} <= set(modules)
    code = (
        "import sys, importlib; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


# --- what nobody may do ------------------------------------------------------------------------

IGNORED = {line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()}
ALL = sources(
    *(
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and path.name[0] != "." and path.name not in IGNORED
    )
)


def reads(module: ast.Module, names: set[str]) -> set[str]:
    """Which of these dotted names a module reads as `a.b.c`, or binds by `from a.b import c`."""
    last = {name.rpartition(".")[2] for name in names}
    read = {
        ast.unparse(node)
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr in last
    }
    bound = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return (read | bound) & names


def test_nothing_is_unpickled():
    """A pickle runs code when it is read; weights and data travel as safetensors and IDX."""
    picklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    readers = {"torch.load", "torch.save", "np.load", "numpy.load"}
    found = {
        path: {name.partition(".")[0] for name in imports(module)} & picklers | reads(module, readers)
        for path in ALL
        for module in [tree(*path.parts)]
    }
    assert {"parity", "lenet", "export", "museum", "workshop", "tests", *FOLDERS} <= {
        path.parts[0] for path in found
    }
    assert not {path: names for path, names in found.items() if names}


def test_no_test_is_skipped_outside_conftest():
    """conftest.py fails under CI where it would skip: a check that can be skipped in silence is none."""
    ways = {"pytest.skip", "pytest.importorskip", "pytest.xfail"}
    ways |= {f"pytest.mark.{mark}" for mark in ("skip", "skipif", "xfail")}
    found = {path: reads(tree(*path.parts), ways) for path in ALL if path.parts[0] == "tests"}
    assert {path.name for path, names in found.items() if names} == {"conftest.py"}


def test_what_is_read_is_seen():
    module = ast.parse("import numpy as np\nfrom torch import load\nx = np.load('f')\ny = a.np.load.z")
    assert reads(module, {"np.load", "torch.load", "a.np.load", "torch.save"}) == {
        "np.load",
        "torch.load",
        "a.np.load",
    }
