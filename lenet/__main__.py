"""Makes `python -m lenet` the same as `lenet`."""

from lenet.commands.cli import main

main()
