"""`python -m workshop.bugs`: shows a wrong port, in which you search for the mistake.

python -m workshop.bugs                           list all: name, port, family
python -m workshop.bugs relu-in-place             the wrong values that `lenet check` finds, but no cause
python -m workshop.bugs relu-in-place --answer    the mistake, its story, and the diagnosis
python -m workshop.bugs --table                   write README.md again
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

{count} ports with exactly one mistake each: a function of a right port is replaced by a wrong function.
This table is written by `python -m workshop.bugs --table`; `tests/workshop/test_gallery.py` runs the
diagnosis on each port and compares the result with the table. To search for the mistakes yourself, stop
reading here and run `python -m workshop.bugs`.

Links lead to reported cases of the same mistake. "or" stands between mistakes that the diagnosis cannot tell
apart; it then names both.

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
@click.option("--answer", is_flag=True, help="Show the mistake, its story, and the diagnosis.")
@click.option("--table", "write", is_flag=True, help="Write the gallery's README.md again.")
def main(name: str | None, answer: bool, write: bool) -> None:
    """Show a port with a planted mistake. Without NAME, list all of them."""
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
