"""`lenet workshop`."""

import click


@click.command()
@click.argument("number", type=click.IntRange(min=1), required=False, metavar="[N]")
@click.option("--list", "listed", is_flag=True, help="List the notebooks (the default without N).")
@click.option(
    "--no-browser", is_flag=True, help="Only print the address, for a browser that you open yourself."
)
def workshop(number: int | None, listed: bool, no_browser: bool) -> None:
    """Twenty notebooks with a question each.

    They begin with the definition of a convolution and end with what an accuracy says about other digits.

    Without N, list the notebooks, with question and duration. With N, open notebook N in JupyterLab (Ctrl-C
    ends it).
    """
    from lenet.show import notebooks, tables
    from parity.command.terminal import output

    found = notebooks.find()
    by_number = {one.number: one for one in found}
    if number is None or listed:
        table = tables.new_table(None, ">", "notebook", ">minutes", "question")
        table.columns[1].no_wrap = False  # the questions are longer
        table.columns[1].max_width = 36
        for one in found:
            table.add_row(str(one.number), one.title, str(one.minutes), one.question)
        output().print(table)
    elif number not in by_number:
        raise click.BadParameter(f"there is no notebook {number}: `lenet workshop` lists them")
    else:
        notebooks.open_in_jupyter(by_number[number], browser=not no_browser)
