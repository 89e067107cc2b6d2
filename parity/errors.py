"""The exceptions that a user of the project is meant to read."""


class UserError(Exception):
    """Something the user can mend. Its text is one line: what is wrong, and what to do."""


class MissingFramework(UserError):
    """A framework or runtime was asked for that is not installed; the text says how to install it."""


class Unjudged(Exception):
    """No bound is known for an operator, or for this use of it. Its text names both."""
