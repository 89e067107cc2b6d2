"""`lenet check` and `lenet bench` without the work: what they are given, say and leave out."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from lenet import ports
from lenet.commands import bench, options, racing
from lenet.diagnose import Finding, Verdict
from lenet.diagnose.own_file import process
from lenet.diagnose.own_file.interface import Misused
from lenet.diagnose.own_file.process import Checked
from lenet.diagnose.probe_inputs import Observed
from lenet.network import weights
from lenet.ports.workers import Failed
from parity.errors import UserError

OK = Checked("my.py", ("activations",), Observed(), Verdict())
WRONG = Checked("my.py", ("activations",), Observed(), Verdict((Finding("conv1", "off"),)))


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """A file my.py that prints, and is judged to be WRONG; what it was judged with."""
    (tmp_path / "my.py").write_text("")
    seen: list[object] = []

    def check_file(file, seconds, echo, follow, variables):
        seen.extend([file, seconds, variables])
        follow(3, None)
        echo("50%\r100%\n")
        follow(4, 9)
        echo("a\x1b\tb\n")
        follow(9, 9)
        return WRONG

    monkeypatch.setattr(process, "check_file", check_file)
    return seen


def test_a_file_is_judged_and_what_it_prints_is_passed_on(in_process, judged, bar, tmp_path):
    result = in_process("check", "my.py", "--timeout", 5, "--env", "A", "--env", "B", "--json", "out.json")
    assert judged == [Path("my.py"), 5, ("A", "B")]
    assert (result.exit_code, result.stderr) == (1, "100%\na\\x1b      b\n")
    assert result.stdout.startswith("my.py: different at conv1\n")
    assert json.loads((tmp_path / "out.json").read_text()) == WRONG.to_json()
    assert bar.seen == [
        ("running my.py", "0 of None"),
        ("running my.py", "3 of None"),
        ("running my.py", "4 of 9"),
        ("naming the mistake", "9 of 9"),
    ]


def test_a_terminal_shows_what_the_file_prints_above_the_bar(in_process, judged, bar, monkeypatch):
    shown: list[tuple] = []
    monkeypatch.setattr(bar.console, "out", lambda line, highlight: shown.append((line, highlight)))
    bar.disable = False
    monkeypatch.setattr(bar, "start", lambda: None)
    monkeypatch.setattr(bar, "stop", lambda: None)
    result = in_process("check", "my.py", "--json", "-")
    assert shown == [("100%", False), ("a\\x1b      b", False)]
    assert json.loads(result.stdout) == WRONG.to_json()


def test_a_port_that_is_named_is_opened_and_judged(in_process, monkeypatch, bar):
    monkeypatch.setattr(ports, "open_port", lambda name: f"opened {name}")
    monkeypatch.setattr(process, "check_port", {"opened numpy": OK}.get)
    assert in_process("check", "numpy").exit_code == 0
    assert bar.seen == [("running numpy", "0 of None")]


def test_a_file_that_misuses_the_interface_is_told_in_json_and_in_a_line(in_process, monkeypatch, tmp_path):
    def check_file(*_):
        raise Misused("no\n activations\x1b")

    (tmp_path / "my.py").write_text("")
    monkeypatch.setattr(process, "check_file", check_file)
    result = in_process("check", "my.py", "--json", "-")
    assert json.loads(result.stdout) == {
        "source": "my.py",
        "verdict": "misused",
        "message": "no activations\x1b",
    }
    assert result.exit_code == 2
    assert result.stderr.endswith("no activations\\x1b\n")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("none.py", "none.py: no such file"),
        (".", ". is no Python file: its name must end in .py"),
        ("my\x1b.txt", "my\\x1b.txt is no Python file: its name must end in .py"),
        ("nope", "unknown port 'nope': `lenet ports` lists all"),
        ("folder.py", "folder.py: is a folder, not a file"),
    ],
)
def test_what_is_no_file_and_no_port_is_refused(argument, said, in_process, tmp_path):
    (tmp_path / "my\x1b.txt").write_text("")
    (tmp_path / "folder.py").mkdir()
    result = in_process("check", argument)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_template_is_printed_as_it_is(in_process):
    template = Path(process.__file__).with_name("my_port.py.txt").read_text(encoding="utf-8")
    result = in_process("check", "--template")
    assert (result.exit_code, result.stdout, result.stderr) == (0, template, "")


# --- lenet bench -------------------------------------------------------------------------------


class Watch:
    """A stopwatch whose process says what is missing, or fails."""

    def __init__(self, names: list[str], answer: dict[str, str] | Exception) -> None:
        self.names, self.answer = names, answer

    def missing(self) -> dict[str, str]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_stopwatch_that_does_not_start_is_left_out_with_the_reason():
    good, less = Watch(["a"], {}), Watch(["b", "b:x"], {"b:x": "needs x"})
    refused = Watch(["c", "c:y"], UserError("c is not installed"))
    failed = Watch(["d"], Failed("d", "ValueError: no", "a traceback"))
    ready, missing = bench.started(cast(Any, [good, refused, less, failed]))
    assert cast(Any, ready) == [good, less]
    assert missing == {
        "c": "c is not installed",
        "c:y": "c is not installed",
        "b:x": "needs x",
        "d": "raises ValueError: no",
    }
    with pytest.raises(UserError, match=r"^c is not installed; raises ValueError: no$"):
        bench.started(cast(Any, [refused, failed]))


def test_a_stopwatch_opens_the_ports_of_its_framework(monkeypatch):
    asked: list[tuple] = []

    def open_ports(names, dtype, progress, otherwise):
        asked.append((names, dtype, progress.disable, otherwise))
        return ["a port"], {"numpy:fast": "why not"}

    class Held:
        def __init__(self, *given) -> None:
            self.given = given

    monkeypatch.setattr(racing, "open_ports", open_ports)
    monkeypatch.setattr(racing.Stopwatch, "__init__", Held.__init__)
    names = ["numpy", "numpy:fast"]
    for named in (True, False):
        here = racing.Here(names, named, weights.TRAINED)
        assert here.missing() == {"numpy:fast": "why not"}
        opened, params, tests = here.given  # type: ignore[attr-defined]
        assert opened == ["a port"]
        np.testing.assert_array_equal(params["fc1.weight"], weights.read()["fc1.weight"])
        assert len(tests) == options.TEST_DIGITS
    assert asked == [(names, "float32", True, names), ((), "float32", True, names)]


def test_the_main_process_asks_the_stopwatch_by_its_methods(monkeypatch):
    given: list[tuple] = []
    monkeypatch.setattr(racing.Worker, "__init__", lambda self, *arguments: given.append(arguments))
    monkeypatch.setattr(racing.Worker, "call", lambda self, *arguments: arguments)
    away: Any = racing.Away(["numpy", "numpy:fast"], True, Path("w"))
    assert given == [("numpy", racing.Here, ["numpy", "numpy:fast"], True, Path("w"))]
    assert away.names == ["numpy", "numpy:fast"]
    assert (away.missing(), away.versions()) == (("missing",), ("versions",))
    assert away.prepare("numpy", "train", 7) == ("prepare", "numpy", "train", 7)
    assert away.seconds("numpy") == ("seconds", "numpy")


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("compare", "--digits N [default: 10000; 1<=x<=10000]"),
        ("train", "--digits N [default: 60000; 1<=x<=60000]"),
        ("exact", "--digits N [default: 500; 1<=x<=10000]"),
    ],
)
def test_the_help_says_how_many_digits_there_are(command, shown, in_process):
    words = " ".join(in_process(command, "--help").stdout.split())
    option, _, default = shown.partition(" [")
    assert f"{option} " in words
    assert default in words


def test_an_option_for_digits_has_the_most_that_there_are_by_default():
    @options.first_digits("Take N.", most=70)
    def command(digits: int) -> None:
        """Nothing."""

    (option,) = cast(Any, command).__click_params__
    assert (option.name, option.opts, option.metavar, option.help) == ("digits", ["--digits"], "N", "Take N.")
    assert (option.default, option.show_default, option.type.min, option.type.max) == (70, True, 1, 70)


@pytest.mark.parametrize(("incomplete", "found"), [("torch", ["torch", "torch:compile"]), ("num", None)])
def test_a_shell_completes_the_names_of_ports(incomplete, found):
    items = options.PORT.shell_complete(None, None, incomplete)  # type: ignore[arg-type]
    wanted = found or [name for name in ports.names() if name.startswith(incomplete)]
    assert [item.value for item in items] == wanted
    assert wanted


def test_json_goes_to_a_file_or_to_standard_output(tmp_path, capsys):
    value = {"a": float("inf"), "b": [1, 2.5]}
    text = '{\n  "a": null,\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
    options.write_json(value, None)
    assert capsys.readouterr().out == ""
    options.write_json(value, options.STDOUT)
    assert capsys.readouterr().out == text
    options.write_json(value, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == text
    assert capsys.readouterr().out == ""


def test_where_several_ports_may_be_named_onnx_stands_for_its_modes():
    assert options.PORTS.convert("onnx", None, None) == "onnx"
    for kind, value in ((options.PORT, "onnx"), (options.PORTS, "nope")):
        with pytest.raises(options.click.UsageError, match=f"'{value}'"):
            kind.convert(value, None, None)
