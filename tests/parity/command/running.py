"""How a test runs `parity`, and reads how it refused."""

import sys

from click.testing import CliRunner, Result

from parity.command.main import cli


def parity(*arguments: object, code: int = 0) -> Result:
    # A file that it runs becomes the main module, which processes that this one spawns later would run.
    main = sys.modules["__main__"]
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    sys.modules["__main__"] = main
    assert result.exit_code == code, (result.output, result.exception)
    return result


def refused(*arguments: object, said: str) -> None:
    """One line on standard error, nothing else, and exit code 2."""
    result = parity(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
