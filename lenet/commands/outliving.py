"""Lets a command outlive a framework that ends the process: it goes on without that port."""

from parity.command import copies
from parity.errors import UserError


def go_on_in_a_copy() -> dict[str, str]:
    """Go on in a copy of this process, and in another one whenever a port has ended it.

    The copy calls `copies.busy` with the port that it works on.

    Returns:
        {port: how it ended an earlier copy}.

    Raises:
        UserError: a library ended the process, and it is not known which port called it.
    """
    ended: dict[str, str] = {}
    while (death := copies.go_on()) is not None:
        if not death.during:
            raise UserError(f"a library ended the process {death.how}")
        ended[death.during] = f"port {death.during!r} ended the process {death.how}"
    return ended
