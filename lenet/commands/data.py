"""`lenet data`."""

from pathlib import Path

import click

from lenet.commands import options


@click.command("data")
@options.DATA
def fetch_data(folder: Path | None) -> None:
    """Download or verify the MNIST training set."""
    from lenet.network.digits import training_folder
    from lenet.network.digits.download import download
    from parity.command.terminal import output, shown

    place = training_folder(folder)
    files = download(place)
    output().print(f"{shown(str(place))}: {options.TRAINING_DIGITS:,} training digits, verified by SHA-256")
    for path in files:
        output().print(f"  {path.name}  {path.stat().st_size:,} bytes")
