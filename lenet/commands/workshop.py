"""`lenet workshop`."""

import click


@click.command()
@click.argument("number", type=click.IntRange(min=1), required=False, metavar="[N]")
@click.option("--list", "listed", is_flag=True, help="List the notebooks, which is what happens without N.")
@click.option(
    "--no-browser", is_flag=True, help="Print the address, for a browser of your own or on another machine."
)
def workshop(number: int | None, listed: bool, no_browser: bool) -> None:
    """Ten notebooks that ask one question each.

    From what a convolution computes to what the model assumes.

    Without N: what each asks, and how long it takes. With N: open that one in JupyterLab (Ctrl-C ends it).
    """
    from lenet.show import notebooks, tables
    from parity.terminal import output

    found = notebooks.find()
    by_number = {one.number: one for one in found}
    if number is None or listed:
        table = tables.new_table(None, "notebook", ">minutes", "what it asks")
        for one in found:
            table.add_row(f"{one.number:2} {one.title}", str(one.minutes), one.question)
        output().print(table)
    elif number not in by_number:
        raise click.BadParameter(f"there is no notebook {number}: `lenet workshop` lists them")
    else:
        notebooks.open_in_jupyter(by_number[number], browser=not no_browser)
