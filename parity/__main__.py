"""`python -m parity` is `parity`."""

from parity.command.main import main

main()
