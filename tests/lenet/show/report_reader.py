"""The report page in a browser, for the tests that read it as a person does."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from lenet.commands.cli import cli
from lenet.show.migrations import ROOT
from lenet.show.page import web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PORTS = ("numpy", "torch", "tf")
DIGITS, COUNT = 60, 12
WEB = ROOT / "web"  # where `make web` puts onnxruntime-web
HAS_WEB = all((WEB / name).is_file() for name in web.FILES)
SECONDS = 120_000  # milliseconds that a busy machine may take for anything


def write_report(path: Path) -> str:
    """Write the page by the command; returns its address."""
    options = [*PORTS, "--digits", DIGITS, "--strip", COUNT, "--steps", 2, "--out", path]
    result = CliRunner().invoke(cli, ["report", *map(str, options), *(["--web", str(WEB)] * HAS_WEB)])
    assert result.exit_code == 0, result.output
    return path.as_uri()


def open_report(browser: "Browser", address: str, width: int = 1280) -> "Page":
    """Open, its values unpacked; what it says on the console and asks of the network is kept."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
    page.set_default_timeout(SECONDS)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.said, page.asked = said, asked  # type: ignore[attr-defined]
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def is_silent(page: "Page") -> None:
    """Nothing was said on the console, and nothing was asked of the network."""
    assert page.said == []  # type: ignore[attr-defined]
    asked = page.asked  # type: ignore[attr-defined]
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []


def choose(page: "Page", layer: str, digit: int, a: str = "torch", b: str = "tf") -> None:
    """As a reader does, by what can be clicked and chosen."""
    page.click(f'#stations [data-layer="{layer}"]')
    page.click(f'#strip button[data-digit="{digit}"]')
    page.select_option("#a", a)
    page.select_option("#b", b)


def shown_index(page: "Page", digit: int) -> int:
    """The index in the test set of a digit of the strip."""
    label = page.get_attribute(f'#strip button[data-digit="{digit}"]', "aria-label") or ""
    return int(re.findall(r"^digit (\d+),", label)[0])
