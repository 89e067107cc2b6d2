"""Makes `python -m parity` the same as `parity`."""

from parity.command.main import main

main()
