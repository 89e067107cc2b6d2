"""The exceptions whose messages are written for users."""

from parity.errors import MissingFramework
from parity.errors import UserError as LenetError

__all__ = ["LenetError", "MissingFramework"]
