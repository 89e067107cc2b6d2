"""`python -m workshop.static DIR`: each notebook with its outputs as a web page, and slides of its figures.

For those who only read, and for the teacher's screen. The right guesses are filled in, so that every result
is explained; the exercises stay open.
"""

import ast
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import click
import nbformat
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbconvert import HTMLExporter, SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lenet.show import notebooks
from parity.command.terminal import Command, open_streams, progress_bar
from parity.files import write_together
from workshop import guesses
from workshop.elsewhere import Repository, origin, repository

SECONDS = 240  # for a notebook, which takes less than one minute on two cores of one's own
SLIDE = {"slideshow": {"slide_type": "slide"}}
FIGURE, TEXT = "image/png", "text/markdown"
REVEAL = "https://unpkg.com/reveal.js@4.6.1"
# nbconvert's own, without scripts from elsewhere: formulas are MathML, and there are no widgets.
PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}"""
SLIDES = """{% extends 'reveal/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block footer_js %}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script>Reveal.initialize({hash: true, slideNumber: true, width: 1100, height: 720, margin: 0.02});</script>
{% endblock %}"""


def executed(book: NotebookNode, folder: Path, environment: Mapping[str, str] = os.environ) -> NotebookNode:
    """The notebook, executed in a folder, with the project on Python's path.

    Args:
        book: the notebook; its outputs are filled in.
        folder: the working directory.
        environment: the variables of its process.

    Raises:
        CellExecutionError: a cell fails.
    """
    client = NotebookClient(
        book,
        timeout=SECONDS,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],  # its advice on how to connect to it
    )
    client.execute(env={**environment, "PYTHONPATH": str(notebooks.ROOT)})
    return book


def answered(book: NotebookNode, answers: dict[str, tuple[Any, str]]) -> NotebookNode:
    """The notebook with the right guesses.

    Args:
        book: the notebook, with `predict.guess("name", None, …)`.
        answers: {name: (the right guess, explanation)}.
    """
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.source = _answered(cell.source, answers)
    return book


def _answered(source: str, answers: dict[str, tuple[Any, str]]) -> str:
    lines = source.encode().split(b"\n")
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(ast.Attribute(ast.Name("predict"), "guess"), [ast.Constant(name), none, *_]):
                line, start, end = none.lineno - 1, none.col_offset, none.end_col_offset
                guess = json.dumps(answers[str(name)][0], ensure_ascii=False)
                lines[line] = lines[line][:start] + guess.encode() + lines[line][end:]
    return b"\n".join(lines).decode()


def with_formulas(text: str) -> str:
    """Markdown with its TeX as MathML, which browsers show without a script."""

    def formula(found: re.Match[str]) -> str:
        return found[1] or convert(found[2] or found[3], display="block" if found[2] else "inline")

    return re.sub(r"(```.*?```|`[^`]*`)|\$\$(.+?)\$\$|\$([^$]+)\$", formula, text, flags=re.DOTALL)


def page(book: NotebookNode) -> str:
    """The executed notebook as HTML, with its figures; it needs no network."""
    return _exported(HTMLExporter(raw_template=PAGE), book.cells, book.metadata)


def slides(book: NotebookNode, reveal: str) -> str:
    """The questions of the executed notebook and its figures and explained results, a slide each, as HTML.

    Args:
        book: the executed notebook.
        reveal: the folder or address of reveal.js, as in its npm package.
    """
    exporter = SlidesExporter(
        raw_template=SLIDES,
        exclude_input=True,
        exclude_output_prompt=True,
        reveal_url_prefix=reveal,
    )
    return _exported(exporter, list(_slides(book)), book.metadata)


def _exported(exporter: HTMLExporter, cells: list[NotebookNode], metadata: NotebookNode) -> str:
    book = deepcopy(new_notebook(cells=cells, metadata=metadata))
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(cell.source)
        for output in cell.get("outputs", ()):
            if TEXT in output.get("data", {}):
                output.data[TEXT] = with_formulas(output.data[TEXT])
    html: str = exporter.from_notebook_node(book)[0]
    return html


def _slides(book: NotebookNode) -> Iterator[NotebookNode]:
    first, *others = book.cells
    yield new_markdown_cell(first.source, metadata=SLIDE)
    heading = ""
    for cell in others:
        if cell.cell_type == "markdown":
            heading = (re.findall("^## .*", cell.source, re.MULTILINE) or [heading])[-1]
            if question := re.search(r"\*\*Predict\.\*\*(.*)", cell.source, re.DOTALL):
                yield new_markdown_cell(f"{heading}\n\n{question[0]}", metadata=SLIDE)
        elif shown := [output for output in cell.outputs if {FIGURE, TEXT} & output.get("data", {}).keys()]:
            yield new_markdown_cell(heading, metadata=SLIDE)
            yield new_code_cell(outputs=shown, execution_count=1)
    yield new_markdown_cell(others[-1].source, metadata=SLIDE)


def pages(
    found: list[notebooks.Notebook],
    reveal: str,
    progress: Callable[[notebooks.Notebook], None],
    repository: Repository | None = None,
) -> dict[str, str]:
    """{file name: text} of each notebook's page and slides, and of the notebook for Colab.

    Args:
        found: the notebooks.
        reveal: where the slides find reveal.js.
        progress: called with each before it is executed.
        repository: the copy on GitHub to which the pages link; without it there is nothing for Colab.
    """
    made: dict[str, str] = {}
    for one in found:
        progress(one)
        book = nbformat.read(one.path, 4)
        if repository is not None:
            made[f"{one.path.stem}.ipynb"] = nbformat.writes(repository.for_colab(book))
            book.cells[0].source += f"\n\n{repository.links(one.path.stem)}"
        book = answered(book, dict(guesses.of(one.path.stem).answers))
        book.metadata["title"] = f"{one.number} · {one.title}"
        executed(book, one.path.parent)
        made |= {f"{one.path.stem}.html": page(book), f"{one.path.stem}.slides.html": slides(book, reveal)}
    return made


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.argument("numbers", metavar="[N]...", nargs=-1, type=int)
@click.option(
    "--reveal",
    default=REVEAL,
    show_default=True,
    metavar="PLACE",
    help="Where the slides find reveal.js.",
)
@click.option(
    "--address",
    default=origin,
    show_default="git's origin",
    metavar="URL",
    help="A copy of this repository on GitHub, for links to Binder and Colab.",
)
def main(folder: Path, numbers: tuple[int, ...], reveal: str, address: str) -> None:
    """Write every notebook (or the notebooks N) with its outputs into DIR, and its slides.

    With a copy on GitHub each page has links to Binder and Colab, and DIR the notebooks for Colab: publish
    the site on the branch gh-pages.
    """
    found = [one for one in notebooks.find() if not numbers or one.number in numbers]
    if unknown := set(numbers) - {one.number for one in found}:
        raise click.BadParameter(f"there is no notebook {min(unknown)}: `lenet workshop` lists them")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{folder}: cannot be made ({error.strerror})") from error
    with progress_bar() as progress:
        task = progress.add_task("", total=len(found))

        def follow(one: notebooks.Notebook) -> None:
            progress.update(task, description=f"executing {one.path.name}", completed=found.index(one))

        made = pages(found, reveal, follow, repository(address))
    write_together({folder / name: html for name, html in made.items()})
    click.echo(f"{folder}: {len(found)} notebooks, each with its slides")


if __name__ == "__main__":
    open_streams()
    main()
