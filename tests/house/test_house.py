"""The house, read from the source, keeps its rules; a planted breach of each is seen."""

from collections.abc import Callable
from pathlib import Path

import pytest

import lenet
import parity
from lenet.commands.cli import cli
from lenet.ports import FRAMEWORKS
from parity.operators import FAMILIES
from tests.house.rules import (
    FLOORS,
    LONGEST,
    MOST,
    ROOT,
    against_the_order,
    crowded,
    imports_of_tests,
    long_tests,
    network_beyond_facts,
    parity_beyond_itself,
    part,
    ports,
    ports_that_see_more,
    shared_names,
    sources,
    unpinned,
)

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


# --- this house keeps them ---------------------------------------------------------------------


@pytest.mark.slow
def test_parity_stands_by_itself():
    assert parity_beyond_itself(ROOT) == []


def test_every_family_of_operators_is_known():
    registering = {
        path.stem for path in sources(ROOT, "parity/operators") if "\n@register\n" in path.read_text("utf-8")
    }
    assert registering == set(FAMILIES)


@pytest.mark.slow
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


def test_no_file_of_tests_is_long():
    assert long_tests(ROOT) == []


@pytest.mark.slow
def test_no_test_file_imports_another():
    assert imports_of_tests(ROOT) == []


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
    one_way = (parity_beyond_itself, against_the_order, ports_that_see_more, network_beyond_facts)
    for rule in (*one_way, crowded, long_tests, imports_of_tests):
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


@pytest.mark.parametrize("file", ["tests/lenet/test_layers.py", "tests/helpers.py"])
def test_a_long_file_of_tests_is_seen(house, file):
    assert long_tests(house(file, "\n" * LONGEST)) == []
    assert long_tests(house(file, "\n" * (LONGEST + 1))) == [f"{file}: {LONGEST + 1}"]


@pytest.mark.parametrize(
    "text", ["from tests.lenet.test_data import idx", "from tests.lenet import test_data"]
)
def test_a_test_file_that_imports_another_is_seen(house, text):
    root = house("tests/lenet/test_download.py", f"from tests.helpers import one_line\n{text}")
    assert len(imports_of_tests(root)) == 1


def test_actions_are_pinned_to_commits():
    assert unpinned("      - uses: actions/checkout@v6\n") == ["actions/checkout@v6"]
    workflows = sorted(ROOT.glob(".github/workflows/*.yml"))
    assert workflows
    assert [action for one in workflows for action in unpinned(one.read_text())] == []
