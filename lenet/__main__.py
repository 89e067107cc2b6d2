"""`python -m lenet` is `lenet`."""

from lenet.commands.cli import main

main()
