"""The stories of docs/rounding-or-bug.md: their blocks of code, and what these print.

`python -m tests.parity.chapter` runs them and writes onto the page what they print now.
"""

import contextlib
import io
import os
import re
import shlex
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "rounding-or-bug.md"
WIDTH = "100"  # columns of the terminal
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
# What depends on the processor: a number with a point, an exponent or a percent sign, and a 1 at the end of a
# column, which is such a number rounded.
MEASURED = re.compile(r"-?\d+(\.\d+)?e[-+]?\d+|-?\d+\.\d+|\d+%|∞|(?<= {8})1\b")
RIGHT_ROW = re.compile(r" (equal|rounding) +# +[#-] +#")  # of the table of `parity judge`


def sections() -> list[str]:
    """The page cut before each title of a story; the first part is what comes before them."""
    return re.split(r"^(?=## )", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def stories() -> dict[str, str]:
    """The stories by their titles."""
    return {
        title.removeprefix("## "): text for title, _, text in (one.partition("\n") for one in sections()[1:])
    }


def blocks(text: str) -> list[tuple[str, str, str]]:
    """For each block: "python" or "console", the code or the command, and what it prints on the page."""
    return [_parts(*found.groups()) for found in BLOCK.finditer(text)]


def _parts(kind: str, inside: str, printed: str | None) -> tuple[str, str, str]:
    if kind == "python":
        return kind, inside, printed or ""
    command, _, below = inside.partition("\n")
    return kind, command.removeprefix("$ "), below


def run(kind: str, code: str, names: dict[str, object]) -> str:
    """What a block prints; names are those of the blocks before it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if kind == "python":
            exec(compile(code, str(PAGE), "exec"), names)
        else:
            from parity.command.main import cli

            program, *arguments = shlex.split(code)
            assert program == "parity"
            with contextlib.suppress(SystemExit):
                cli(arguments, prog_name="parity")
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().strip("\n").splitlines())


def stable(text: str) -> str:
    """The words, without what depends on the processor: numbers, the worst value, rows of right tensors."""
    lines = [re.sub(r"At \[.*?\]", "At #", MEASURED.sub("#", line)) for line in text.splitlines()]
    return " ".join(" ".join(line for line in lines if not RIGHT_ROW.search(line)).split())


def written(story: str) -> str:
    """A story with what its blocks print now."""
    names: dict[str, object] = {}

    def filled(found: re.Match[str]) -> str:
        kind, code, _ = _parts(*found.groups())
        printed = run(kind, code, names)
        if kind == "console":
            return f"```console\n$ {code}\n{printed}```\n"
        return f"```python\n{code}```\n" + (f"\n```text\n{printed}```\n" if printed else "")

    return BLOCK.sub(filled, story)


if __name__ == "__main__":
    os.environ["COLUMNS"] = WIDTH
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the tests
    first, *rest = sections()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        PAGE.write_text("".join([first, *map(written, rest)]), encoding="utf-8")
