"""Which ports a command opens, what it says while it does, and what becomes of those that do not open."""

from collections.abc import Callable

import pytest

from lenet import ports
from lenet.commands import opening, outliving
from lenet.ports import Framework
from lenet.ports.registry import Broken
from parity.command.copies import Death
from parity.errors import MissingFramework, UserError


@pytest.fixture
def opened() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def opens(opened) -> Callable[[str, str], str]:
    """Opens a port; "missing" and "broken" in a name say what is wrong with it."""

    def open_one(name: str, dtype: str) -> str:
        if "missing" in name:
            raise MissingFramework(f"{name} is not installed")
        if "broken" in name:
            raise Broken(f"{name} fails")
        opened.append((name, dtype))
        return name.upper()

    return open_one


@pytest.fixture
def registry(monkeypatch) -> None:
    """Three frameworks in place of all: one with two modes, one exported, one that is not installed."""
    lines = {
        "a": Framework("lenet_a.port", "numpy", ("", "fast")),
        "b": Framework("export.b", "click", ("x", "y")),
        "c": Framework("lenet_c.port", "nowhere", forward_only="it only runs forward"),
    }
    monkeypatch.setattr("lenet.ports.registry.FRAMEWORKS", lines)


def test_ports_are_opened_in_order_and_the_bar_says_which(opens, opened, bar):
    found = opening.opened_by(opens, (), "float64", bar, ["a", "b"], {})
    assert found == (["A", "B"], {})
    assert opened == [("a", "float64"), ("b", "float64")]
    assert bar.seen == [
        ("importing a", "0 of 2"),
        ("importing a", "0 of 2"),
        ("importing a", "1 of 2"),
        ("importing b", "1 of 2"),
        ("importing b", "2 of 2"),
    ]
    assert not bar.tasks


def test_without_names_what_cannot_be_opened_is_left_out_with_the_reason(opens, bar):
    found = opening.opened_by(opens, (), "float32", bar, ["a", "missing", "dead", "broken"], {"dead": "died"})
    reasons = {"dead": "died", "missing": "missing is not installed", "broken": "broken fails"}
    assert found == (["A"], reasons)
    with pytest.raises(MissingFramework):
        opening.opened_by(opens, (), "float32", bar, ["missing"], {})
    with pytest.raises(UserError, match=r"^died; gone$"):
        opening.opened_by(opens, (), "float32", bar, ["a", "b"], {"a": "died", "b": "gone"})


def test_of_named_ports_a_broken_one_alone_is_left_out(opens, bar, monkeypatch):
    monkeypatch.setattr(ports, "modes", lambda name: [name])
    monkeypatch.setattr(ports, "require", lambda name: None)
    named = opening.opened_by(opens, ["a", "broken"], "float32", bar, ["b"], {})
    assert named == (["A"], {"broken": "broken fails"})
    for names in (["a", "missing"], ["broken"]):
        with pytest.raises(UserError):
            opening.opened_by(opens, names, "float32", bar, ["b"], {})


def test_what_works_on_a_port_is_noted_while_it_is_opened_alone(bar, monkeypatch):
    noted: list[str] = []
    monkeypatch.setattr(opening, "busy", noted.append)

    def fails(name: str, dtype: str) -> None:
        noted.append(f"opens {name}")
        raise Broken("fails")

    with pytest.raises(Broken):
        opening.opened_by(fails, (), "float32", bar, ["a"], {})
    assert noted == ["a", "opens a", ""]


@pytest.mark.usefixtures("registry")
def test_ports_stand_for_their_modes_and_are_grouped_by_framework():
    assert opening.wanted_ports(["a", "b", "a:fast", "a"]) == ["a", "b:x", "b:y", "a:fast"]
    assert opening.wanted_ports([], ["x"]) == ["x"]
    assert opening.wanted_ports([]) == opening.written_ports() == ["a", "a:fast", "c"]
    assert opening.raced_ports() == ["a", "a:fast", "c", "onnx:numpy/onnxruntime"]
    assert opening.by_framework(["a", "c", "a:fast", "b:x"]) == [["a", "a:fast"], ["c"], ["b:x"]]
    assert opening.eager_ports() == ["a"]


@pytest.mark.usefixtures("registry")
def test_a_named_port_that_is_not_installed_is_refused_before_any_work():
    opening.require_named([])
    opening.require_named(["a", "b"])
    with pytest.raises(MissingFramework, match="'c' needs nowhere"):
        opening.require_named(["a", "c"])


def test_what_is_left_out_is_said_in_a_line_each(capsys):
    assert opening.left_out({"a": "no\nway", "b": "gone"}, ["a"]) is True
    assert capsys.readouterr().err == "left out: a: no\\nway\nleft out: b: gone\n"
    assert opening.left_out({"a": "no way"}, []) is False
    assert opening.left_out({}, ["a"]) is False


def test_a_command_goes_on_without_a_port_that_ended_the_process(monkeypatch):
    deaths = [Death("torch", "by signal SIGABRT"), Death("tf", "with exit code 1"), None]
    monkeypatch.setattr(outliving.copies, "go_on", lambda: deaths.pop(0))
    assert outliving.go_on_in_a_copy() == {
        "torch": "port 'torch' ended the process by signal SIGABRT",
        "tf": "port 'tf' ended the process with exit code 1",
    }
    deaths[:] = [Death("", "by signal SIGABRT")]
    with pytest.raises(UserError, match=r"^a library ended the process by signal SIGABRT$"):
        outliving.go_on_in_a_copy()
