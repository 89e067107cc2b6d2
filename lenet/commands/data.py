"""`lenet data`."""

from pathlib import Path

import click

from lenet.commands import options


@click.command("data")
@options.DATA
def fetch_data(folder: Path | None) -> None:
    """Download or verify the MNIST training set."""
    from lenet import data
    from lenet.terminal import output

    place = data.training_folder(folder)
    files = data.download(place)
    output().print(f"{place}: {options.TRAINING_DIGITS:,} training digits, verified by SHA-256")
    for path in files:
        output().print(f"  {path.name}  {path.stat().st_size:,} bytes")
