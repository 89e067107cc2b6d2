"""`python -m workshop.bugs`: a wrong port to find the mistake in, without its answer.

python -m workshop.bugs                           list all: name, port, family
python -m workshop.bugs relu-in-place             what is wrong there, as `lenet check` sees it, but not why
python -m workshop.bugs relu-in-place --answer    the mistake, its story, and what the diagnosis says
python -m workshop.bugs --table                   write README.md anew
"""

from pathlib import Path

import click

from lenet.diagnose import diagnose
from lenet.diagnose.probe_inputs import observe_port, standard
from parity.errors import UserError
from parity.files import write_atomically
from workshop.bugs import BUGS, Bug, find

README = Path(__file__).parent / "README.md"

HEAD = """# Gallery of planted bugs

{count} ports with exactly one mistake each: one function of a right port, replaced by one that is wrong.
Written by `python -m workshop.bugs --table`; `tests/test_gallery.py` runs the diagnosis on every one, and
holds this table to what it finds. To find them yourself, do not read on: `python -m workshop.bugs`.

A link leads to a reported case of the same mistake. "or": what the diagnosis cannot tell apart, and says so.

| name | family | port | bug | detected at | named as | story |
|---|---|---|---|---|---|---|
"""


def table() -> str:
    """The text of README.md."""
    rows = [_row(one) for one in BUGS.values()]
    return HEAD.format(count=len(BUGS)) + "".join(rows)


def _row(one: Bug) -> str:
    title = f"[{one.title}]({one.case})" if one.case else one.title
    named = " or ".join((one.named, *one.coincides))
    dtype = "" if one.dtype == "float32" else f" {one.dtype}"
    cells = (f"`{one.name}`", one.family, f"{one.port}{dtype}", title, one.where, named, one.story)
    return f"| {' | '.join(cells)} |\n"


@click.command()
@click.argument("name", required=False)
@click.option("--answer", is_flag=True, help="Tell the mistake, its story, and the diagnosis.")
@click.option("--table", "write", is_flag=True, help="Write the gallery's README.md anew.")
def main(name: str | None, answer: bool, write: bool) -> None:
    """Ports with one planted mistake each. Without NAME: a list of all."""
    try:
        if write:
            write_atomically(README, table())
        elif name is None:
            for one in BUGS.values():
                click.echo(f"{one.name:26} {one.port:23} {one.family}")
        else:
            _judge(name, answer)
    except UserError as error:
        raise click.ClickException(str(error)) from error


def _judge(name: str, answer: bool) -> None:
    try:
        one = find(name)
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error
    with one.planted() as port:
        verdict = diagnose(standard(), observe_port(standard(), port))
    for finding in verdict.findings:
        click.echo(f"{finding.where}: {finding.evidence}")
    if answer:
        click.echo(f"\n{one.title}, in {one.patches}. {one.story}\n\n{verdict}")
        for cause in verdict.diagnoses:
            click.echo(f"{cause.explanation} {cause.remedy} {cause.case}".rstrip())
    raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m workshop.bugs")
