"""Every notebook has one form: headings, exercises, predictions, no plotting; and guesses are compared.

Each rule is a function that returns a notebook's breaches, so that planted breaches show that it can fail.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from tests.workshop.notebooks import BOOKS, calls, solution
from workshop.guesses import Form, Guesses, NotAGuess, of, yes

LAST = "What stays when the framework goes"
Cells = list[tuple[str, str]]  # (kind, source)


def of_book(path: Any) -> Cells:
    return [(cell.cell_type, cell.source) for cell in nbformat.read(path, 4).cells]


def headings(book: Cells) -> list[str]:
    """One title, then sections without numbers; exercises are numbered from 1; the last section is LAST."""
    found = [line for kind, text in book if kind == "markdown" for line in re.findall("^#.*", text, re.M)]
    sections = [line.removeprefix("## ") for line in found[1:]]
    wrong = [line for line in found[1:] if not re.match(r"## [^\d#]", line)]
    wrong += [] if re.match(r"# \d+ · \w", found[0]) else found[:1]
    exercises = [line for line in sections if line.startswith("Exercise")]
    wrong += [one for k, one in enumerate(exercises, 1) if not re.match(rf"Exercise {k}: \w", one)]
    return wrong + ([] if sections[-1] == LAST else sections[-1:])


def stubs(book: Cells) -> list[str]:
    """An exercise is a heading, text, then one cell: a function that returns ..., and its check."""
    wrong = []
    for k, (kind, text) in enumerate(book):
        if kind != "code" or "checks." not in text:
            continue
        *body, last = ast.parse(text).body
        match last:
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("checks"), _), [ast.Name(answer)])):
                stub = body[-1]
                file = isinstance(stub, ast.Assign) and ast.unparse(stub.targets[0]) == answer
                function = isinstance(stub, ast.FunctionDef) and stub.name == answer and returns_dots(stub)
                if not (file or function) or "## Exercise" not in book[k - 1][1]:
                    wrong.append(answer)
            case _ if any(isinstance(node, ast.Expr) and "checks." in ast.unparse(node) for node in body):
                wrong.append(text)
    numbered = sum(len(re.findall("^## Exercise", text, re.M)) for kind, text in book if kind == "markdown")
    checked = sum(bool(re.search(r"^checks\.", text, re.M)) for kind, text in book if kind == "code")
    return wrong + ([] if numbered == checked else [f"{numbered} exercises, {checked} checks"])


def returns_dots(stub: ast.FunctionDef) -> bool:
    """Whether a function is a docstring and `return ...`."""
    return (
        ast.get_docstring(stub) is not None
        and len(stub.body) == 2
        and ast.unparse(stub.body[-1]) == "return ..."
    )


def predictions(book: Cells) -> list[str]:
    """Below each "**Predict.**" is a cell with guesses of None; below that they are revealed, once each."""
    wrong, open_, seen = [], list[str](), list[str]()
    for k, (kind, text) in enumerate(book):
        if kind == "markdown":
            if "redict" in text and k and "**Predict.**" not in text:
                wrong.append(f"not the usual form: {text[:60]}")
            if "**Predict.**" in text and k and not any(calls(book[k + 1][1], "guess")):
                wrong.append(f"no guess: {text[:60]}")
            continue
        for call in calls(text, "guess"):
            open_.append(str(ast.literal_eval(call.args[0])))
            if ast.unparse(call.args[1]) != "None" or "**Predict.**" not in book[k - 1][1]:
                wrong.append(open_[-1])
        for call in calls(text, "reveal"):
            seen += [str(keyword.arg) for keyword in call.keywords]
            if ast.unparse(ast.parse(text).body[-1]) != ast.unparse(call):  # Jupyter shows the last line
                wrong.append(f"not the last line: {ast.unparse(call)}")
    return wrong + sorted(set(open_) ^ set(seen)) + [name for name in seen if seen.count(name) > 1]


def plotting(book: Cells) -> list[str]:
    """Plots are drawn by workshop/figures.py and workshop/drawings.py."""
    return [
        text for kind, text in book if kind == "code" and re.search(r"matplotlib|plt\.|\bax(es)?\.", text)
    ]


def triton(book: Cells) -> list[str]:
    """TensorFlow is imported behind Triton, which `open_port` imports first."""
    whole = "\n".join(text for kind, text in book if kind == "code")
    first = re.search(r"^ *(import|from) (keras|tensorflow)\b.*", whole, re.M)
    if first and not re.search(r"\b(import_triton\(|open_port\((name|\"tf\"))", whole[: first.start()]):
        return [first.group()]
    return []


RULES = [headings, stubs, predictions, plotting, triton]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_notebook_has_the_form(path, rule):
    assert rule(of_book(path)) == []


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_every_prediction_has_an_answer_and_no_more(path):
    asked = {ast.literal_eval(c.args[0]) for _, s in code(path) for c in calls(s, "guess")}
    assert asked == set(solution(path).ANSWERS)
    assert len(asked) >= 4


def code(path: Any) -> Cells:
    return [(kind, source) for kind, source in of_book(path) if kind == "code"]


WELL: Cells = [
    ("markdown", "# 1 · Title"),
    ("markdown", "## Loops\n\n**Predict.** How many?"),
    ("code", 'predict.guess("count", None)'),
    ("code", "n = 3\npredict.reveal(count=n)"),
    ("markdown", "## Exercise 1: add\n\nAdd."),
    ("code", 'def add(a):\n    """Add."""\n    return ...\n\n\nchecks.add(add)'),
    ("markdown", f"## {LAST}"),
]


def spoilt(at: int, old: str, new: str) -> Cells:
    assert old in WELL[at][1]
    return [(kind, text.replace(old, new) if k == at else text) for k, (kind, text) in enumerate(WELL)]


def test_a_notebook_in_order_has_no_breach():
    assert [rule(WELL) for rule in RULES] == [[], [], [], [], []]


@pytest.mark.parametrize(
    ("rule", "at", "old", "new"),
    [
        (headings, 0, "# 1 ·", "# "),
        (headings, 1, "## Loops", "## 2. Loops"),
        (headings, 1, "## Loops", "### Loops"),
        (headings, 4, "Exercise 1:", "Exercise 2:"),
        (headings, 6, LAST, "Summary"),
        (stubs, 5, "return ...", "return a"),
        (stubs, 5, '"""Add."""\n    ', ""),
        (stubs, 5, "checks.add(add)", "checks.add(other)"),
        (stubs, 5, "checks.add(add)", "pass"),
        (stubs, 4, "## Exercise 1: add", "**Exercise 1.**"),
        (predictions, 2, "None", "3"),
        (predictions, 2, "guess", "asked"),
        (predictions, 1, "**Predict.**", "**Predict:**"),
        (predictions, 3, "count=n", "other=n"),
        (predictions, 3, "predict.reveal(count=n)", ""),
        (predictions, 3, "predict.reveal(count=n)", "predict.reveal(count=n)\nprint(n)"),
        (plotting, 3, "n = 3", "import matplotlib.pyplot as plt"),
        (plotting, 3, "n = 3", "axes.plot(n)"),
        (triton, 3, "n = 3", "import keras"),
        (triton, 3, "n = 3", 'from tensorflow import nn\nports.open_port("tf")'),
    ],
)
def test_each_rule_can_fail(rule: Callable[[Cells], list[str]], at, old, new):
    assert rule(spoilt(at, old, new)) != []


# --- guesses -----------------------------------------------------------------------------------

ANSWERS = {
    "count": (144, "Locality."),
    "rate": (0.2, "The limit."),
    "sign": ("zero", "It cancels."),
    "wrong": (["A"], "Only A."),
}


@pytest.fixture
def predict() -> Guesses:
    return Guesses(ANSWERS)


def test_a_right_guess_is_told_and_explained(predict):
    predict.guess("count", 144)
    assert predict.reveal(count=144)._repr_markdown_() == "**count: 144**, right. Locality."


def test_a_wrong_guess_is_shown_beside_the_result(predict):
    predict.guess("count", 1000)
    assert str(predict.reveal(count=144)) == "**count: 144**, not what you guessed, 1,000. Locality."


def test_the_result_is_what_was_computed_not_what_the_solution_says(predict):
    predict.guess("count", 144)
    assert str(predict.reveal(count=7)) == "**count: 7**, not what you guessed, 144. Locality."


def test_without_a_guess_nothing_is_revealed(predict, capsys):
    predict.guess("count", None)
    assert capsys.readouterr().out == "count: write your guess in place of None (a number)\n"
    text = str(predict.reveal(count=144))
    assert text == "*Guess first: count.* Write it in the cell above and run both again."
    predict.guess("count", 3)
    predict.guess("count", None)  # taken back
    assert "144" not in str(predict.reveal(count=144))


def test_of_two_guesses_the_missing_one_is_asked_for(predict):
    predict.guess("count", 144)
    shown = str(predict.reveal(count=144, rate=0.2))
    assert "right. Locality." in shown
    assert "Guess first: rate." in shown
    assert "The limit" not in shown


@pytest.mark.parametrize(("guess", "is_right"), [(0.1, True), (0.4, True), (0.41, False), (-0.2, False)])
def test_a_number_may_be_right_up_to_a_factor(predict, guess, is_right, capsys):
    predict.guess("rate", guess, within=2)
    assert (", right." in str(predict.reveal(rate=0.2))) == is_right
    predict.guess("rate", None, within=2)
    assert "a number, right up to a factor of 2" in capsys.readouterr().out


def test_a_list_of_words_has_no_order(predict):
    predict.guess("wrong", ["B", "A"], "A", "B", "C", several=True)
    assert ", right." in str(predict.reveal(wrong={"A", "B"}))
    assert "**wrong: none of them**, not what you guessed, A, B." in str(predict.reveal(wrong=[]))


@pytest.mark.parametrize(
    ("value", "options", "several"),
    [
        ("many", (), False),
        (True, (), False),
        (float("nan"), (), False),
        ([144], (), False),
        (0, ("positive", "zero"), False),
        ("naught", ("positive", "zero"), False),
        ("A", ("A", "B"), True),
        (["A", "D"], ("A", "B"), True),
        ([["A"]], ("A", "B"), True),
        ({"A": 1}, ("A", "B"), True),
    ],
)
def test_a_guess_of_another_form_is_refused_in_one_line(predict, value, options, several):
    name = "wrong" if several else "sign" if options else "count"
    with pytest.raises(NotAGuess) as refusal:
        predict.guess(name, value, *options, several=several)
    assert refusal.value._render_traceback_() == [
        f"not a guess: {value!r}; write {Form(options, several)}",
    ]
    assert "Guess first" in str(predict.reveal(**{name: 3}))


def test_a_result_of_another_form_is_a_mistake_of_the_notebook(predict):
    predict.guess("sign", "zero", "positive", "zero")
    with pytest.raises(NotAGuess):
        predict.reveal(sign="minus")
    with pytest.raises(LookupError, match="no answer is called 'other'"):
        predict.guess("other", None)


@pytest.mark.slow
def test_the_answers_are_those_of_the_notebooks_solution():
    assert of("01_convolution").answers["entries"][0] == 144
    assert (yes(1), yes(0)) == ("yes", "no")
