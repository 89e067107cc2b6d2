"""The page of `parity judge --html` in a real browser: it loads alone and shows every verdict."""

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import ModelProto, helper

from parity.command.main import cli
from parity.command.page.rows import KINDS
from parity.command.report import HEADLINES, short
from parity.errors import install_line, pip
from parity.judging.verdict import BINS, ORDER
from tests.parity.small import Arrays, computed, convolutions, model, normal, saved

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]
FOCUSED = "document.activeElement.querySelector('.name').title"
SECONDS = 60_000  # milliseconds that a busy machine may take for anything


def parity(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["judge", *map(str, arguments)])


def written(proto: ModelProto, values: Arrays, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The page and the JSON of a verdict."""
    path = saved(proto, folder)
    np.savez(folder / "values.npz", **values)  # type: ignore[arg-type]
    made = [folder / "page.html", folder / "out.json"]
    result = parity(path, "--values", folder / "values.npz", "--html", made[0], "--json", made[1])
    assert result.exit_code in (0, 1), (result.output, result.exception)
    return made[0], json.loads(made[1].read_text(encoding="utf-8"))


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


def padded(pads: list[int]) -> ModelProto:
    """x → conv → relu → product, of which "relu" is not recorded below."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], "first", pads=pads, strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"], "second"),
        helper.make_node("Conv", ["relu", "v"], ["out"], "third"),
    ]
    weights = {"w": normal(8, 3, 3, 3), "v": normal(4, 8, 1, 1)}
    return model(nodes, {"x": [2, 3, 10, 10]}, ["out"], weights)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A convolution padded on the other side."""
    values = computed(padded([0, 0, 1, 1]), {"x": normal(2, 3, 10, 10)})
    del values["relu"]
    return written(padded([1, 1, 1, 1]), values, tmp_path_factory.mktemp("wrong"))


def row(page: "Page", name: str) -> Any:
    return page.locator(f'#nodes summary:has(.name[title="{name}"])')


def details(page: "Page", name: str) -> str:
    """The text of a node that is open."""
    found = page.locator(f'#nodes details:has(> summary .name[title="{name}"]) > .more')
    assert found.is_visible()
    return " ".join(found.inner_text().split())


# --- what it shows -----------------------------------------------------------------------------


def test_the_verdict_stands_above_in_plain_words(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0])
    assert page.inner_text("h1") == HEADLINES["different"]
    told = page.inner_text("header")
    assert "First in order of execution: conv (Conv), different." in told
    assert "Cause: padding on the other side" in told
    assert "different" in page.title()


def test_each_node_has_the_colour_and_the_mark_of_its_verdict(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0])
    found = page.locator("#nodes > details").evaluate_all(
        "all => all.map(one => [one.querySelector('.name').title, one.className,"
        " one.querySelector('use').getAttribute('href')])"
    )
    assert found == [
        ["x", "input", "#mark-input"],
        ["conv", "different", "#mark-different"],
        ["relu", "not-recorded", "#mark-not-recorded"],
        ["out", "rounding", "#mark-rounding"],
    ]
    read = "kind => { const s = document.querySelector('#mark-' + kind); return getComputedStyle(s).fill }"
    assert len({page.evaluate(read, kind) for kind in ORDER}) == len(ORDER)
    read = "kind => document.querySelector('#mark-' + kind).innerHTML"
    assert len({page.evaluate(read, kind.replace(" ", "-")) for kind in KINDS}) == len(KINDS)


def test_the_first_wrong_node_is_open_and_says_what_is_wrong(wrong: Any, opened: Open) -> None:
    path, said = wrong
    page = opened(path)
    told = details(page, "conv")
    one = said["tensors"][0]
    (cause,) = one["causes"]
    for text in (cause["name"], cause["explanation"], cause["remedy"], cause["case"]):
        assert text in told
    assert f"error / worst case {short(one['ratio'])} limit 1" in told
    assert f"error / loop {short(one['loop_ratio'])} limit {one['loop_limit']:.3g}" in told
    worst = one["worst"]
    assert f"[{', '.join(map(str, worst['index']))}]" in told
    assert f"{worst['found']:.9g}, expected {worst['expected']:.9g}" in told
    assert f"{one['equal']:,} of {one['values']:,}" in told
    assert "Reads x Read by relu" in told


def test_the_histogram_has_the_counts_of_the_json(wrong: Any, opened: Open) -> None:
    path, said = wrong
    page = opened(path)
    for one in said["tensors"]:
        if one["tensor"] != "conv":
            row(page, one["tensor"]).click()
        figure = page.locator("#nodes details[open] .bins svg").last
        counted = list(map(int, re.findall(r"\d+", figure.get_attribute("aria-label") or "")))
        bins = one["histogram"]
        inside = sum(n for name, n in bins.items() if name != "0" and BINS.index(name) <= BINS.index("2^0"))
        outside = sum(n for name, n in bins.items() if BINS.index(name) > BINS.index("2^0"))
        assert counted == [bins.get("0", 0), inside, outside]
        assert (outside > 0) == (one["verdict"] == "different")
        drawn = figure.locator("path").evaluate_all("all => all.map(one => one.getBBox().width > 0)")
        assert drawn == [counted[0] + inside > 0, outside > 0]


def test_a_bar_passes_the_limit_where_the_error_does(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0])
    read = "all => all.map(one => [...one.children].map(part => part.getBoundingClientRect()))"
    for name, beyond in (("conv", True), ("out", False)):
        box, limit = row(page, name).locator(".track").evaluate_all(read)[0]
        assert (box["x"] + box["width"] > limit["x"] + 2) == beyond


@pytest.mark.parametrize("width", [360, 1280])
def test_a_coarse_node_shows_the_yardstick_that_decided(tmp_path: Path, opened: Open, width: int) -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"])]
    proto = model(nodes, {"x": [8, 4096]}, ["y"], {"m": normal(4096, 64)})
    x = normal(8, 4096)
    rounded = (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)  # ten bits, as TF32 has
    y = (rounded.astype(np.float64) @ normal(4096, 64)).astype(np.float32)
    path, said = written(proto, {"x": x, "y": y}, tmp_path)
    page = opened(path, width=width)
    (one,) = said["tensors"]
    assert one["ratio"] < 1 < one["loop_limit"] < one["loop_ratio"]
    assert short(one["loop_ratio"]) in row(page, "y").inner_text().split()
    assert row(page, "y").locator(".track .bad").count() == 1


def test_a_node_is_opened_by_a_click_and_by_the_keyboard(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0])
    row(page, "out").click()
    assert "The differences are rounding." in details(page, "out")
    row(page, "x").focus()
    for key, name in (
        ("ArrowDown", "conv"),
        ("ArrowDown", "relu"),
        ("ArrowUp", "conv"),
        ("ArrowDown", "relu"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(FOCUSED) == name
    page.keyboard.press("Enter")
    assert "Its values were not recorded" in details(page, "relu")
    page.click(".jump")
    assert page.evaluate(FOCUSED) == "conv"


def test_what_cannot_be_judged_is_drawn_with_its_reason(tmp_path: Path, opened: Open) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["a"]),
        helper.make_node("Strange", ["a"], ["b"], domain="own"),
        helper.make_node("Strange", ["b"], ["c"], domain="own"),
        helper.make_node("MatMul", ["b", "n"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 3]}, ["y"], {"m": normal(3, 4), "n": normal(4, 5)}, domains={"own": 1})
    x, b = normal(2, 3), normal(2, 4)
    values = {"x": x, "a": x @ normal(3, 4), "b": b, "y": b @ normal(4, 5)}
    page = opened(written(proto, values, tmp_path)[0])
    row(page, "b").click()
    assert "unjudged" in row(page, "b").inner_text()
    assert "No bound is known for this operator" in details(page, "b")
    row(page, "c").click()
    assert "No bound is known for it: own.Strange" in details(page, "c")


def test_several_outputs_of_a_node_are_shown_with_the_worst_first_in_its_row(
    tmp_path: Path, opened: Open
) -> None:
    proto = model(
        [helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)], {"x": [2, 6]}, ["a"], opset=18
    )
    values = computed(proto, {"x": normal(2, 6)})
    values["b"] = values["b"] * 2
    page = opened(written(proto, values, tmp_path)[0])
    assert page.locator("#nodes details.different .name").first.get_attribute("title") == "b"
    assert page.locator("#nodes details[open] h3").all_inner_texts() == ["a equal", "b different"]


# --- finding a node ----------------------------------------------------------------------------


def test_nodes_are_found_by_verdict_name_and_operator(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0])
    seen = page.locator("#nodes > details:visible .name")
    assert seen.count() == 4
    page.click("button[data-kind=rounding]")
    assert [one.get_attribute("title") for one in seen.all()] == ["out"]
    page.click("button[data-kind=rounding]")
    page.fill("#search", "RELU")
    assert [one.get_attribute("title") for one in seen.all()] == ["relu"]
    page.fill("#search", "nothing")
    assert page.is_visible("#none")
    page.click("#next")  # a hidden node is shown
    assert page.evaluate(FOCUSED) == "conv"
    assert seen.count() == 4


def test_the_overview_leads_to_a_node(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0])
    box = page.locator("#overview").bounding_box()
    assert box is not None
    page.click("#overview", position={"x": box["width"] * 0.9, "y": 10})
    assert "The differences are rounding." in details(page, "out")


# --- everywhere --------------------------------------------------------------------------------


def test_without_javascript_it_is_a_table_whose_rows_open(wrong: Any, opened: Open) -> None:
    page = opened(wrong[0], script=False)
    assert "different" in row(page, "conv").inner_text()
    assert details(page, "conv")
    row(page, "out").click()
    assert "The differences are rounding." in details(page, "out")
    assert not page.is_visible("#search")


@pytest.mark.parametrize("width", [360, 900, 1600])
def test_no_width_needs_sideways_scrolling(wrong: Any, opened: Open, width: int) -> None:
    page = opened(wrong[0], width=width)
    row(page, "out").click()
    row(page, "relu").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("conv", "out"):
        box = row(page, name).locator(".verdict").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width


def test_dark_follows_the_system(wrong: Any, opened: Open) -> None:
    read = "getComputedStyle(document.body).backgroundColor"
    colours = [opened(wrong[0], scheme=scheme).evaluate(read) for scheme in ("light", "dark")]
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


# --- refusals ----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(convolutions(2), tmp_path)


def test_a_page_beside_the_json_on_standard_output(path: Path, tmp_path: Path) -> None:
    result = parity(path, "--html", tmp_path / "page.html", "--json", "-")
    assert json.loads(result.stdout)["verdict"] == "rounding"
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_that_would_overwrite_what_is_read_is_refused(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    np.savez(tmp_path / "in.npz", x=normal(2, 3, 9, 9))
    (tmp_path / "link.html").symlink_to(path)
    for html in (path, tmp_path / "link.html", tmp_path / "in.npz"):
        result = parity(path, "--inputs", tmp_path / "in.npz", "--html", html)
        assert result.exit_code == 2
        assert "would overwrite what is judged" in result.stderr
    assert path.read_bytes() == before


def test_a_page_needs_a_file_of_its_own(path: Path, tmp_path: Path) -> None:
    same = tmp_path / "out", tmp_path / "no" / ".." / "out"
    (tmp_path / "no").mkdir()
    assert "into the same file" in parity(path, "--json", same[0], "--html", same[1]).stderr
    assert "needs the name of a file" in parity(path, "--html", "-").stderr
    assert not same[0].exists()


def test_without_jinja_the_line_that_installs_it_is_told(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("parity.command.page")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = parity(path, "--html", tmp_path / "page.html")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: jinja2 is not installed: {install_line('jinja2')}\n"
    assert install_line("jinja2") == f"{pip()} install 'lenet-migrations[page]'"
