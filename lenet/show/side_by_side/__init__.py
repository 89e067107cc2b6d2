"""Compares two ports' sources side by side: by file, by definition and by line."""

import ast
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from itertools import zip_longest
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lenet.ports import framework
from parity.errors import UserError

PYTHON = ("model.py", "weights.py", "train.py", "port.py", "layers.py")
FILES = (*PYTHON, "deploy.prototxt", "train_val.prototxt", "solver.prototxt")  # Caffe's network is text
HERE = Path(__file__).parent
KINDS = {
    Comment: "comment",
    String.Doc: "comment",
    String: "string",
    Keyword: "keyword",
    Operator.Word: "keyword",
    Name.Function: "name",
    Name.Class: "name",
    Name.Decorator: "name",
    Name.Builtin: "builtin",
    Number: "number",
}
STYLES = {
    "comment": "italic",
    "string": "green",
    "keyword": "magenta",
    "name": "bold",
    "builtin": "cyan",
    "number": "cyan",
    "": "",
}
WIDE = 100  # columns of a terminal that are enough for line numbers


@dataclass(frozen=True)
class Piece:
    """A part of a line: its kind for highlighting, and whether the other side lacks it."""

    text: str
    kind: str
    changed: bool


@dataclass(frozen=True)
class Line:
    """A line of source with its number, from 1."""

    number: int
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The line as in the file."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def indent(self) -> int:
        """Number of leading spaces."""
        return len(self.text) - len(self.text.lstrip())


@dataclass(frozen=True)
class Row:
    """Two corresponding lines, or a line without a counterpart."""

    left: Line | None
    right: Line | None

    @property
    def mark(self) -> str:
        """The mark of sdiff: " " the same, "|" different, "<" and ">" only on that side."""
        if self.left is None or self.right is None:
            alone = self.left or self.right
            return " " if not alone or not alone.text else ">" if self.left is None else "<"
        return " " if self.left.text == self.right.text else "|"


@dataclass(frozen=True)
class Definition:
    """The rows of the definition `name` in both files ("": everything before the first definition)."""

    name: str
    rows: list[Row]


@dataclass(frozen=True)
class FilePair:
    """A file in two folders; a side is None if its folder lacks the file."""

    name: str
    left: str | None
    right: str | None
    definitions: list[Definition]

    @property
    def summary(self) -> str:
        """The number of equal lines, or the only folder that has the file."""
        if self.left is None or self.right is None:
            return f"only in {Path(self.left or self.right or '').parent}"
        marks = Counter(row.mark for definition in self.definitions for row in definition.rows)
        return f"{marks[' ']} of {marks.total()} lines the same"


def compare_folders(a: str, b: str, files: Iterable[str] = FILES) -> list[FilePair]:
    """Compare these files in the folders of ports `a` and `b`; no framework is imported.

    Raises:
        UserError: there is no such port, or both share a folder.
    """
    left, right = _folder(a), _folder(b)
    if left == right:
        raise UserError(f"{a} and {b} are modes of one port, with one source: {left.name}")
    names = [name for name in files if (left / name).is_file() or (right / name).is_file()]
    return [_compare_files(name, left / name, right / name) for name in names]


def align(a: list[str], b: list[str]) -> list[tuple[int | None, int | None]]:
    """Indices of corresponding lines, in order, chosen so that their words have the most in common.

    This is alignment by dynamic programming (S. Needleman, C. Wunsch, 1970) without a penalty for gaps.
    Remaining lines on both sides of a gap are put beside each other.
    """
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            pair = best[i + 1][j + 1] + _similarity(a[i], b[j])
            best[i][j] = max(pair, best[i + 1][j], best[i][j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    rows: list[tuple[int | None, int | None]] = []
    i = j = 0
    for x, y in [*pairs, (len(a), len(b))]:
        rows += [*zip_longest(range(i, x), range(j, y)), (x, y)]
        i, j = x + 1, y + 1
    return rows[:-1]


def sections(source: str) -> dict[str, range]:
    """{name: lines (from 0) that define it}, without blank lines at the ends; methods are named Class.method.

    A statement without a name belongs to the section before it, a comment to the definition below it.
    """
    lines = source.splitlines()
    starts = [("", 0), *_starts(ast.parse(source).body, lines)]
    ends = [start for _, start in starts[1:]] + [len(lines)]
    found = {}
    for (name, start), end in zip(starts, ends, strict=True):
        while end > start and not lines[end - 1].strip():
            end -= 1
        if end > start:
            found[name] = range(start, end)
    return found


def render(files: list[FilePair], width: int) -> RenderableType:
    """The comparison for a terminal of `width` columns; differences are highlighted, equal lines dimmed."""
    return Group(*(part for file in files for part in _render_file(file, width >= WIDE)))


def to_html(files: list[FilePair], a: str, b: str) -> str:
    """The comparison as a self-contained HTML page."""
    return templates().get_template("diff.html.jinja").render(files=files, a=a, b=b)


def templates() -> Environment:
    """The templates of the package's pages, with values escaped."""
    folders = [HERE, HERE.parent / "page" / "assets"]
    return Environment(
        loader=FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def _folder(port: str) -> Path:
    spec = importlib.util.find_spec(framework(port).module.rpartition(".")[0])
    if spec is None or spec.origin is None:
        raise UserError(f"the source of port {port!r} is not installed; install lenet-migrations anew")
    return Path(spec.origin).parent


def _compare_files(name: str, left: Path, right: Path) -> FilePair:
    shown = [f"{path.parent.name}/{name}" if path.is_file() else None for path in (left, right)]
    if None in shown:
        alone = [] if name in PYTHON else list(_alone(left, right))
        return FilePair(name, shown[0], shown[1], [Definition("", alone)] if alone else [])
    a, b = (path.read_text(encoding="utf-8") for path in (left, right))
    highlighted = _highlight(a), _highlight(b)
    here, there = sections(a), sections(b)
    definitions = [
        Definition(key, list(_rows(highlighted, here.get(key, range(0)), there.get(key, range(0)))))
        for key in _merged(list(here), list(there))
    ]
    return FilePair(name, shown[0], shown[1], definitions)


def _alone(left: Path, right: Path) -> Iterator[Row]:
    """The rows of a file that only one side has."""
    source = (left if left.is_file() else right).read_text(encoding="utf-8")
    for number, tokens in enumerate(_highlight(source)[: len(source.splitlines())], 1):
        line = Line(number, tuple(_pieces(tokens, set())))
        yield Row(line, None) if left.is_file() else Row(None, line)


def _starts(nodes: Iterable[ast.stmt], lines: list[str], prefix: str = "") -> Iterator[tuple[str, int]]:
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                start = min(part.lineno for part in [node, *node.decorator_list]) - 1
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target) if not prefix:
                name, start = ast.unparse(target), node.lineno - 1
                if not re.fullmatch(r"[\w, ()]+", name):  # os.environ["…"] = …
                    continue
            case _:
                continue
        while start and lines[start - 1].strip().startswith("#"):
            start -= 1
        yield prefix + name, start
        if isinstance(node, ast.ClassDef):
            yield from _starts(node.body, lines, f"{prefix}{name}.")


def _merged(a: list[str], b: list[str]) -> list[str]:
    """All names without repeats, in the order of `a`; a name only in `b` follows its predecessor in `b`."""
    order = list(a)
    for before, name in zip(["", *b], b, strict=False):
        if name not in order:
            order.insert(order.index(before) + 1 if before in order else 0, name)
    return order


def _similarity(a: str, b: str) -> float:
    """The similarity of two lines, from 0 (less than a third of their words in common) to 3 (equal).

    It is Dice's coefficient of the words, plus 1 if both begin with the same two words ("def name").
    """
    if a.strip() == b.strip():
        return 3.0 if a.strip() else 0.01
    words, others = _words(a), _words(b)
    dice = 2 * (Counter(words) & Counter(others)).total() / max(1, len(words) + len(others))
    same_start = len(words) > 1 and words[:2] == others[:2]
    return dice + 1 if same_start else dice if dice >= 1 / 3 else 0.0


@cache
def _words(line: str) -> list[str]:
    return re.findall(r"\w+", line)


def _highlight(source: str) -> list[list[tuple[str, str]]]:
    """Each line as (text, kind)."""
    lines: list[list[tuple[str, str]]] = [[]]
    for token, text in lex(source, PythonLexer(stripnl=False)):
        while token not in KINDS and token.parent:
            token = token.parent
        first, *others = text.split("\n")
        lines[-1].append((first, KINDS.get(token, "")))
        lines += [[(other, KINDS.get(token, ""))] for other in others]
    return lines


def _rows(lines: tuple[list, list], a: range, b: range) -> Iterator[Row]:
    texts = [
        ["".join(text for text, _ in side[i]) for i in chosen]
        for side, chosen in zip(lines, (a, b), strict=True)
    ]
    for i, j in align(*texts):
        changed: tuple[set[int], set[int]] = (set(), set())
        if i is not None and j is not None and _similarity(texts[0][i], texts[1][j]):
            changed = _changed(texts[0][i], texts[1][j])
        yield Row(
            None if i is None else Line(a[i] + 1, tuple(_pieces(lines[0][a[i]], changed[0]))),
            None if j is None else Line(b[j] + 1, tuple(_pieces(lines[1][b[j]], changed[1]))),
        )


def _changed(a: str, b: str) -> tuple[set[int], set[int]]:
    """For both lines, the characters in words that the other line lacks."""
    words = [list(re.finditer(r"\w+", line)) for line in (a, b)]
    texts = [[word[0] for word in side] for side in words]
    blocks = SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_matching_blocks()
    changed = []
    for side, starts in zip(
        words, ([block.a for block in blocks], [block.b for block in blocks]), strict=True
    ):
        common = {i + k for i, block in zip(starts, blocks, strict=True) for k in range(block.size)}
        changed.append({c for i, word in enumerate(side) if i not in common for c in range(*word.span())})
    return changed[0], changed[1]


def _pieces(tokens: list[tuple[str, str]], changed: set[int]) -> Iterator[Piece]:
    """The tokens, cut where a change begins or ends."""
    position = 0
    for text, kind in tokens:
        start = 0
        for end in range(1, len(text) + 1):
            now = position + end - 1 in changed
            if end == len(text) or (position + end in changed) != now:
                yield Piece(text[start:end], kind, now)
                start = end
        position += len(text)


def _render_file(file: FilePair, numbers: bool) -> Iterator[RenderableType]:
    yield Rule(Text.assemble((file.name, "bold"), "  ", (file.summary, "dim")), style="dim")
    table = Table(box=None, expand=True, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for side in ("left", "right"):
        table.add_column(style="dim", justify="right", no_wrap=True)
        table.add_column(ratio=1)
        if side == "left":
            table.add_column(style="yellow", no_wrap=True)
    paths = [Text(path or "", "dim") for path in (file.left, file.right)]
    table.add_row("", paths[0], "", "", paths[1])
    for definition in file.definitions:
        table.add_row()
        for row in definition.rows:
            left, right = (str(line.number) if line and numbers else "" for line in (row.left, row.right))
            table.add_row(left, _cell(row.left, row.mark), row.mark, right, _cell(row.right, row.mark))
    yield table
    yield ""


def _cell(line: Line | None, mark: str) -> RenderableType:
    """A line whose continuation keeps the indentation when it wraps."""
    if line is None:
        return ""
    text = Text.assemble(*((piece.text, STYLES[piece.kind]) for piece in line.pieces), overflow="fold")
    if mark == " ":
        text.stylize("dim")
    return Padding(text[line.indent :], (0, 0, 0, line.indent), expand=False)
