"""`python -m lenet_caffe`: writes Caffe's files, and reads a .caffemodel."""

from pathlib import Path

import click

from lenet import ports
from lenet.commands import options
from lenet.network import weights
from parity.errors import MissingFramework, install_line


@click.group(cls=options.Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Convert LeNet to Caffe's files, and back."""
    if missing := ports.missing("caffe"):
        raise MissingFramework(f"port 'caffe' needs {', '.join(missing)}: {install_line(*missing)}")


@cli.command()
@click.argument("folder", metavar="DIR", type=options.FILE)
@options.WEIGHTS
def write(folder: Path, weights_file: Path | None) -> None:
    """Write Caffe's four files into DIR.

    deploy.prototxt and lenet.caffemodel are the network; train_val.prototxt and solver.prototxt train it:
    `caffe train --solver=solver.prototxt`.
    """
    from lenet_caffe import caffemodel

    for path in caffemodel.write_folder(folder, weights.read(weights_file or weights.TRAINED)):
        click.echo(path)


@cli.command()
@click.argument("file", metavar="FILE.caffemodel", type=options.FILE)
@click.argument("out", metavar="OUT.safetensors", type=options.FILE)
def read(file: Path, out: Path) -> None:
    """Convert a .caffemodel to shared weights.

    Every port can then run weights trained by Caffe: `lenet compare --weights OUT.safetensors`.
    """
    from lenet_caffe import caffemodel

    weights.write(out, caffemodel.read(file), {"source": file.name})
    click.echo(out)


if __name__ == "__main__":
    cli(prog_name="python -m lenet_caffe")
