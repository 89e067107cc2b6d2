"""The page of `parity judge --html` in a real browser: it shows every verdict, and finds a node."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from parity.command.page.rows import KINDS
from parity.command.report import HEADLINES, short
from parity.judging.verdict import BINS, ORDER
from tests.parity.command.pages import FOCUSED, Open, details, row, written
from tests.parity.small import computed, model, normal

# --- what it shows -----------------------------------------------------------------------------


def test_the_verdict_stands_above_in_plain_words(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0])
    assert page.inner_text("h1") == HEADLINES["different"]
    told = page.inner_text("header")
    assert "First in order of execution: conv (Conv), different." in told
    assert "Cause: padding on the other side" in told
    assert "different" in page.title()


def test_each_node_has_the_colour_and_the_mark_of_its_verdict(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0])
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


def test_the_first_wrong_node_is_open_and_says_what_is_wrong(wrong_page: Any, opened: Open) -> None:
    path, said = wrong_page
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


def test_the_histogram_has_the_counts_of_the_json(wrong_page: Any, opened: Open) -> None:
    path, said = wrong_page
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


def test_a_bar_passes_the_limit_where_the_error_does(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0])
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


def test_a_node_is_opened_by_a_click_and_by_the_keyboard(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0])
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


def test_nodes_are_found_by_verdict_name_and_operator(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0])
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


def test_the_overview_leads_to_a_node(wrong_page: Any, opened: Open) -> None:
    page = opened(wrong_page[0])
    box = page.locator("#overview").bounding_box()
    assert box is not None
    page.click("#overview", position={"x": box["width"] * 0.9, "y": 10})
    assert "The differences are rounding." in details(page, "out")
