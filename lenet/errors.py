"""The one exception that a user of the project is meant to read."""


class LenetError(Exception):
    """Something the user can mend. Its text is one line: what is wrong, and what to do."""


class MissingFramework(LenetError):
    """A port was asked for whose framework is not installed; the text says how to install it."""
