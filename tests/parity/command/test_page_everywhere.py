"""The page at any width, without JavaScript, in the dark, with names that are markup, and of many nodes."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from tests.parity.command.pages import Open, details, parity, row, written
from tests.parity.small import computed, model, normal, saved


def test_without_javascript_it_is_a_table_whose_rows_open(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0], script=False)
    assert "different" in row(page, "conv").inner_text()
    assert details(page, "conv")
    row(page, "out").click()
    assert "The differences are rounding." in details(page, "out")
    assert not page.is_visible("#search")


@pytest.mark.parametrize("width", [360, 900, 1600])
def test_no_width_needs_sideways_scrolling(wrong_page: Any, opened: Open, width: int) -> None:
    page = opened(wrong_page[0], width=width)
    row(page, "out").click()
    row(page, "relu").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("conv", "out"):
        box = row(page, name).locator(".verdict").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width


def test_dark_follows_the_system(wrong_page: Any, opened: Open) -> None:
    read = "getComputedStyle(document.body).backgroundColor"
    colours = [opened(wrong_page[0], scheme=scheme).evaluate(read) for scheme in ("light", "dark")]
    assert colours[0] != colours[1]


def test_names_from_files_are_text(tmp_path: Path, opened: Open) -> None:
    attack = "<script>document.title='taken'</script>"
    first, second = f"{attack}a", '"></summary></details><img src=x onerror="document.title=\'taken\'">'
    third = "</script></style><b id=taken>\x1b[31m\u202e{{ 7 * 7 }}"
    nodes = [
        helper.make_node("MatMul", ["x", "m"], [first], f"{attack}n"),
        helper.make_node("<b>", [first], [second], f"'{second}", domain="own"),
        helper.make_node("MatMul", [second, "n"], [third], "</title><i>"),
    ]
    weights = {"m": normal(3, 4), "n": normal(4, 5)}
    proto = model(nodes, {"x": [2, 3]}, [third], weights, domains={"own": 1})
    x, b = normal(2, 3), normal(2, 4)
    values = {"x": x, first: 2 * x @ normal(3, 4), second: b, third: 2 * b @ normal(4, 5)}
    path = saved(proto, tmp_path, "<b>model.onnx")
    archive = tmp_path / "<i>.npz"
    page_file = tmp_path / "page.html"
    with zipfile.ZipFile(archive, "w") as file:
        for name, array in values.items():
            content = io.BytesIO()
            np.save(content, array)
            file.writestr(f"{name}.npy", content.getvalue())
    result = parity(path, "--values", archive, "--html", page_file)
    assert result.exit_code == 1, result.output
    page = opened(page_file)
    for number in range(4):
        page.locator(f"#n{number}").evaluate("one => { one.open = true }")
    assert page.locator("script").count() == 1
    assert page.locator("img, #taken, #nodes i:not(.good, .bad), title *").count() == 0
    assert page.locator("#nodes > details").count() == 4
    assert page.title() == f"{path}: different"
    text = page.inner_text("#nodes")
    for shown in (first, second, "</script></style><b id=taken>\\x1b[31m\\u202e{{ 7 * 7 }}", "own.<b>"):
        assert shown in text


def chain(size: int) -> ModelProto:
    """A network of `size` nodes with a shortcut around each ten."""
    nodes, last, shortcut = [], "x", "x"
    for place in range(size):
        inputs = [last, shortcut] if place % 10 == 9 else [last, "w"]
        nodes.append(helper.make_node("Add", inputs, [f"block{place // 10}/add{place}"]))
        last = nodes[-1].output[0]
        shortcut = last if place % 10 == 9 else shortcut
    return model(nodes, {"x": [4]}, [last], {"w": normal(4)})


@pytest.mark.slow
def test_a_thousand_nodes_make_a_page_that_opens(tmp_path: Path, opened: Open) -> None:
    values = computed(chain(1000), {"x": normal(4)})
    values["block99/add990"] = values["block99/add990"] * np.float32(1.5)
    path, said = written(chain(1000), values, tmp_path)
    assert path.stat().st_size < 5_000_000
    page = opened(path)
    assert page.locator("#nodes > details").count() == 1001
    assert said["first"] == "block99/add990"
    page.click(".jump")
    page.wait_for_function("document.activeElement.querySelector?.('.name')?.title === 'block99/add990'")
    assert row(page, "block99/add990").evaluate("one => one.getBoundingClientRect().top") < 450
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 10_000
    narrow = opened(path, width=360)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
