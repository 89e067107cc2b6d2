"""The side-by-side source: nothing lost, everything beside its namesake, told apart on every screen."""

import ast
import io
import re
import textwrap
from functools import cache
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path

import pytest
from rich.console import Console

from lenet import ports
from lenet.show import side_by_side

EAGER = [name for name in ports.names() if ":" not in name]
PAIRS = list(permutations(EAGER, 2))
folders = cache(side_by_side.compare_folders)


def source(path: str | None) -> list[str]:
    """The lines of a file of the repository."""
    assert path is not None
    return (Path(__file__).parents[3] / path).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_every_line_is_shown_once_and_in_order_of_its_definition(a, b):
    for file in folders(a, b):
        rows = [row for definition in file.definitions for row in definition.rows]
        if not rows:
            continue
        for path, lines in (
            (file.left, [row.left for row in rows if row.left]),
            (file.right, [row.right for row in rows if row.right]),
        ):
            shown = {line.number: line.text for line in lines}
            assert len(shown) == len(lines)
            wanted = {n: text for n, text in enumerate(source(path), 1) if text.strip()}
            assert {n: text for n, text in shown.items() if text.strip()} == wanted
        for definition in file.definitions:
            numbers = [row.left.number for row in definition.rows if row.left]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_what_both_define_stands_side_by_side(a, b):
    for file in folders(a, b):
        if not file.definitions:
            continue
        sides = []
        for path in (file.left, file.right):
            tree = ast.parse("\n".join(source(path)))
            sides.append({n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)})
        names = [definition.name for definition in file.definitions]
        assert len(set(names)) == len(names)
        for name in sides[0] & sides[1]:
            rows = next(definition.rows for definition in file.definitions if definition.name == name)
            heads = [row for row in rows if row.left and re.match(rf"(def|class) {name}\b", row.left.text)]
            assert [bool(row.right and name in row.right.text) for row in heads] == [True]


def test_files_come_in_reading_order_and_one_that_a_side_lacks_is_named():
    files = folders("numpy", "torch")
    assert [file.name for file in files] == ["model.py", "weights.py", "train.py", "port.py", "layers.py"]
    layers = files[-1]
    assert (layers.left, layers.right, layers.definitions) == ("lenet_numpy/layers.py", None, [])
    assert layers.summary == "only in lenet_numpy"
    mirrored = folders("torch", "numpy")[-1]
    assert (mirrored.left, mirrored.right, mirrored.summary) == (None, layers.left, layers.summary)


@pytest.mark.parametrize(("a", "b", "mark"), [("torch", "caffe", ">"), ("caffe", "torch", "<")])
def test_a_text_that_one_side_lacks_is_shown_whole(a, b, mark):
    deploy = next(file for file in folders(a, b) if file.name == "deploy.prototxt")
    rows = deploy.definitions[0].rows
    lines = [(row.right if a == "torch" else row.left) for row in rows]
    assert [line.text for line in lines if line] == source("lenet_caffe/deploy.prototxt")
    assert {row.mark for row in rows} == {mark, " "}
    assert deploy.summary == "only in lenet_caffe"


def test_sections_are_definitions_methods_and_assignments_with_their_comments_and_decorators():
    text = textwrap.dedent('''\
        """Doc."""
        import os
        os.environ["A"] = "1"

        # why K
        K, L = 1, 2
        M: int = 3

        @wrapped
        def f():
            inner = 1


        class C(Base):
            """Doc."""

            x = 1

            # why g
            @property
            def g(self):
                return 1

            def h(self): ...

        if K:
            pass
        ''')
    lines = text.splitlines()
    shown = {name: [lines[i] for i in where] for name, where in side_by_side.sections(text).items()}
    assert list(shown) == ["", "(K, L)", "M", "f", "C", "C.g", "C.h"]
    assert shown[""] == lines[:3]
    assert shown["(K, L)"] == ["# why K", "K, L = 1, 2"]
    assert shown["f"] == ["@wrapped", "def f():", "    inner = 1"]
    assert shown["C"][-1] == "    x = 1"
    assert shown["C.g"][:2] == ["    # why g", "    @property"]
    assert shown["C.h"][-1] == "    pass"  # what has no name follows what precedes it


@pytest.mark.parametrize(
    ("a", "b", "rows"),
    [
        ([], [], []),
        (["x"], [], [(0, None)]),
        ([], ["x"], [(None, 0)]),
        (["same"], ["same"], [(0, 0)]),
        (["a = 1", "same"], ["same"], [(0, None), (1, 0)]),
        (["left"], ["right"], [(0, 0)]),  # leftovers stand beside each other
        (["conv = Conv(1)", "pool = Pool(2)"], ["Input(3)", "Conv(1, conv)"], [(None, 0), (0, 1), (1, None)]),
        (["f(a, b)", "same"], ["same", "f(a, b)"], [(0, None), (1, 0), (None, 1)]),  # never crosswise
        (["", "x"], ["x"], [(0, None), (1, 0)]),
        (["def f(a, b, c, d):", "e"], ["def f(", "a, b, c, d):"], [(0, 0), (1, 1)]),
    ],
)
def test_lines_align_by_the_words_they_share(a, b, rows):
    found = side_by_side.align(a, b)
    if rows == [(0, None), (1, 0), (None, 1)]:
        assert found in (rows, [(None, 0), (0, 1), (1, None)])  # either of the two equal lines will do
    else:
        assert found == rows


def test_lines_with_less_than_a_third_in_common_are_not_matched():
    b = ["super().init(", "[", "layers.ReLU(dtype, kind, name)"]
    assert side_by_side.align(["self.params = zeros(dtype, shape, table)"], b) == [
        (0, 0),
        (None, 1),
        (None, 2),
    ]


def test_lines_with_half_of_their_words_in_common_are_matched():
    assert side_by_side.align(["one two three four"], ["other", "five two three six"]) == [(None, 0), (0, 1)]


def test_empty_lines_are_matched_where_nothing_else_is():
    assert side_by_side.align(["", "x y z"], ["x y w", ""]) == [(0, None), (1, 0), (None, 1)]
    assert side_by_side.align(["", "a"], ["", "b"]) == [(0, 0), (1, 1)]


def test_alignment_prefers_equal_lines_to_similar_ones():
    assert side_by_side.align(["x = f(a, b, c)"], ["x = f(a, b, d)", "x = f(a, b, c)"]) == [(None, 0), (0, 1)]


def two_files(tmp_path, left, right):
    for side, text in (("left", left), ("right", right)):
        (tmp_path / side).mkdir()
        (tmp_path / side / "f.py").write_text(text)
    return side_by_side._compare_files("f.py", tmp_path / "left" / "f.py", tmp_path / "right" / "f.py")


def test_marks_tell_same_different_and_one_sided_lines(tmp_path):
    file = two_files(
        tmp_path,
        "def f(x):\n    y = old(x)\n    print(y)\n    return y\n",
        "def f(x):\n    y = new(x)\n    return y\n\n\ndef g():\n    pass\n",
    )
    marks = [(d.name, "".join(row.mark for row in d.rows)) for d in file.definitions]
    assert marks == [("f", " |< "), ("g", ">>")]
    assert file.summary == "2 of 6 lines the same"


def test_names_of_one_side_keep_their_neighbourhood(tmp_path):
    left = "def a(): ...\n\n\ndef b(): ...\n\n\ndef z(): ...\n"
    right = "def first(): ...\n\n\ndef a(): ...\n\n\ndef c(): ...\n\n\ndef b(): ...\n"
    assert [d.name for d in two_files(tmp_path, left, right).definitions] == ["first", "a", "c", "b", "z"]


def test_one_sided_blank_line_is_not_marked(tmp_path):
    file = two_files(tmp_path, "def f():\n    x = 1\n\n    return x\n", "def f():\n    x = 1\n    return x\n")
    assert [row.mark for row in file.definitions[0].rows] == [" ", " ", " ", " "]


def test_changed_words_are_those_that_the_other_line_lacks_at_that_place(tmp_path):
    file = two_files(tmp_path, "y = x.transpose(0, 2, 3, 1)\n", "y = x.transpose(3, 2, 0, 1)  # why\n")
    (row,) = file.definitions[0].rows
    assert row.left
    assert row.right
    changed = ["".join(p.text for p in line.pieces if p.changed) for line in (row.left, row.right)]
    assert changed in (["03", "30why"], ["02", "20why"], ["23", "32why"])


@pytest.mark.slow
@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_terminal_rendering_keeps_to_the_width_and_loses_no_word(width):
    files = folders("torch", "tf")
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    console.print(side_by_side.render(files, width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "model.py" in text
    if width == 200:  # wide enough for every line as it stands
        for file in files:
            for path in (file.left, file.right):
                assert all(line.strip() in text for line in source(path) if len(line) < 90)
    assert ("12 " in text) == (width >= side_by_side.WIDE) or width < side_by_side.WIDE


@pytest.mark.slow
def test_equal_lines_recede_and_different_ones_are_marked():
    console = Console(
        width=120, file=io.StringIO(), record=True, force_terminal=True, color_system="standard"
    )
    console.print(side_by_side.render(folders("torch", "tf"), 120))
    plain = {
        re.sub(r"\x1b\[[\d;]*m", "", line): line for line in console.export_text(styles=True).splitlines()
    }
    same = next(line for text, line in plain.items() if text.count("x, outputs = images, {}") == 2)
    different = next(line for text, line in plain.items() if "model.named_children()" in text)
    assert re.search(r"\x1b\[2m *x, outputs", same)
    assert "|" not in same
    assert re.search(r"\x1b\[33m *\|", different)


class Page(HTMLParser):
    """Collects the code cells of a page; knows which tags are open and what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.cells: list[str] = []
        self.in_code = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loads += [v for k, v in attributes if k in ("src", "href") and not v.startswith("#")]
        if tag not in ("meta", "col", "link", "br", "img"):
            self.open.append(tag)
        if tag == "td":
            self.in_code = "code" in (values["class"] or "").split()
            if self.in_code:
                self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.in_code = self.in_code and tag != "td"

    def handle_data(self, text):
        if self.in_code:
            self.cells[-1] += text


def test_page_holds_every_line_of_both_sides_and_loads_nothing():
    files = folders("numpy", "tf")
    page = Page(side_by_side.to_html(files, "numpy", "tf"))
    assert page.open == []
    assert page.loads == []
    for cells, side in ((page.cells[::2], "left"), (page.cells[1::2], "right")):
        rows = [row for file in files for definition in file.definitions for row in definition.rows]
        lines = [getattr(row, side) for row in rows]
        assert cells == [line.text if line else "" for line in lines]


def test_page_is_made_for_light_and_dark_and_escapes_the_source():
    html = side_by_side.to_html(folders("torch", "tf"), "torch", "tf")
    assert "prefers-color-scheme: dark" in html
    assert "@import" not in html
    assert "url(" not in html
    assert "-&gt;" in html
    assert "layers.py" not in html  # neither has one


@pytest.mark.parametrize(("a", "b"), [("numpy", "tf"), ("tf", "numpy")])
def test_page_names_the_file_that_one_side_lacks(a, b):
    html = side_by_side.to_html(folders(a, b), a, b)
    assert "lenet_numpy/layers.py has no counterpart: only in lenet_numpy." in html
