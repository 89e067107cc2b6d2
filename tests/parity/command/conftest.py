"""A browser's page of a verdict."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.parity.command.pages import SECONDS, Open, padded, written
from tests.parity.small import computed, normal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def opened(browser: "Browser") -> Iterator[Open]:
    """Opens a page; it may leave nothing on the console, and ask the network for nothing."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(path: Path, width: int = 1280, scheme: Any = "light", script: bool = True) -> "Page":
        size: Any = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        if script:
            page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("file:")] == []


@pytest.fixture(scope="module")
def wrong_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A convolution padded on the other side."""
    values = computed(padded([0, 0, 1, 1]), {"x": normal(2, 3, 10, 10)})
    del values["relu"]
    return written(padded([1, 1, 1, 1]), values, tmp_path_factory.mktemp("wrong"))
