"""Standard output, progress bars and pictures of a terminal, made with rich."""

import io
import os
import sys

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


def output() -> Console:
    """Standard output; nothing printed there is taken for markup."""
    return Console(markup=False, highlight=False, emoji=False)


def progress_bar(*fields: str) -> Progress:
    """A bar on standard error that is gone at the end; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return Progress(disable=True)
    # A copy, since `lenet.ports.quiet` holds standard error back while a framework greets.
    copy = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(field) for field in fields),
        TimeRemainingColumn(),
        console=Console(file=copy),
        transient=True,
    )


def to_svg(content: RenderableType, title: str) -> str:
    """What a terminal of 100 columns shows, as a picture."""
    console = Console(
        record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(content)
    return console.export_svg(title=title)
