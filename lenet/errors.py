"""The exceptions that a user of the project is meant to read."""

from parity.errors import MissingFramework
from parity.errors import UserError as LenetError

__all__ = ["LenetError", "MissingFramework"]
