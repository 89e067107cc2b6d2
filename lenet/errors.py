"""The exceptions that a user of the project is meant to read, and the line that installs what is missing."""

from parity.errors import MissingFramework, extra_of, install_line, not_installed
from parity.errors import UserError as LenetError

__all__ = ["LenetError", "MissingFramework", "extra_of", "install_line", "not_installed"]
