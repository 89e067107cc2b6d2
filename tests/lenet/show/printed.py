"""What a command shows of a table or a sentence: its text, and which parts of it have a colour."""

from rich.console import Console, RenderableType

PLAIN = ("bold", "none", "None")  # of titles and headings


def segments(content: RenderableType, width: int) -> list[tuple[str, str]]:
    """Each piece of text with its style, as in a terminal of this width."""
    console = Console(
        width=width,
        color_system="standard",
        force_terminal=True,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    return [(part.text, str(part.style)) for part in console.render(content)]


def plain(content: RenderableType, width: int = 80) -> str:
    """The text, without spaces at the ends of lines."""
    text = "".join(text for text, _ in segments(content, width))
    return "\n".join(line.rstrip() for line in text.splitlines())


def coloured(content: RenderableType, width: int = 80) -> list[str]:
    """ "green: rounding" for each piece of text that is not plain."""
    found = [(text.strip(), style) for text, style in segments(content, width) if style not in PLAIN]
    return [f"{style}: {text}" for text, style in found if text]


def bold(content: RenderableType, width: int = 80) -> list[str]:
    """The pieces of text that are bold and have no colour."""
    return [text.strip() for text, style in segments(content, width) if style == "bold" and text.strip()]
