"""The report page tells a story: its first pair, one value's sum, a planted bug, a digit being drawn."""

import json

import numpy as np
import pytest

from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.reference.forward import reference
from lenet.show import plots
from tests.lenet.show import contrast
from tests.lenet.show.report_reader import COUNT, PORTS, choose, is_silent, open_report, shown_index
from tests.planted.ports import Planted, flipped_kernel, no_bias

CHAPTERS = ["built", "may", "differs", "bug-chapter", "proof", "originals"]
NARROW = 390


@pytest.fixture(scope="module")
def page(browser, report_address):
    page = open_report(browser, report_address)
    yield page
    is_silent(page)
    page.close()


@pytest.fixture
def open_at(browser, report_address):
    """Open the page at an address, in a new tab of some width."""
    opened = []

    def at(search: str = "", width: int = 1280):
        opened.append(open_report(browser, report_address + search, width))
        return opened[-1]

    yield at
    for page in opened:
        is_silent(page)
        page.close()


def values_of(port, params, digits, index):
    port.load(params)
    return port.activations(digits.images[index : index + 1])


def test_chapters_follow_each_other_and_the_first_pair_differs(open_at, digits, params, open_port):
    page = open_at()
    tops = [page.locator(f"#{key}").bounding_box()["y"] for key in CHAPTERS]
    assert tops == sorted(tops)
    assert page.locator("nav >> nth=0").locator("a").evaluate_all("all => all.map(a => a.hash)") == [
        f"#{key}" for key in CHAPTERS
    ]
    a, b, layer = (page.input_value(f"#{name}") for name in ("a", "b", "layer"))
    one, other = (values_of(open_port(name), params, digits, shown_index(page, 0)) for name in (a, b))
    assert (one[layer] != other[layer]).any()
    assert float(page.get_attribute("#pair-told", "data-largest")) > 0


def test_the_choice_is_in_the_address_and_comes_back_from_it(page, open_at):
    choose(page, "fc1", 4, "tf", "numpy")
    page.select_option("#bug", "order")
    page.check("#errors")
    page.locator("#sum-output").press("ArrowRight")
    again = open_at("?" + page.url.partition("?")[2])
    page.uncheck("#errors")
    read = "() => ({...state})"
    kept = again.evaluate(read)
    assert kept == page.evaluate(read) | {"errors": True}
    assert kept["value"] is not None
    assert (kept["layer"], kept["digit"], kept["a"], kept["b"]) == ("fc1", 4, "tf", "numpy")
    strange = open_at("?layer=<b>&digit=x&a=sonnet&bug=constructor&value=-1")
    first = strange.evaluate("() => DATA.first")
    assert strange.evaluate(read) | first == strange.evaluate(read)
    assert strange.evaluate("state.bug") in strange.evaluate("Object.keys(BUGS)")


def test_every_layer_tells_its_error_over_its_bound_and_the_overlay_paints_it(page):
    choose(page, "conv2", 2, "torch", "tf")
    digit = page.evaluate("DATA.digits[2].layers.torch")
    for layer in ACTIVATION_SHAPES:
        told = float(page.get_attribute(f"#stations [data-shows={layer}] .share", "data-value"))
        # the page's bounds are rounded up to float32
        assert told == pytest.approx(digit[layer]["end_to_end_ratio"], rel=2.0**-22)
    read = """() => { const c = document.querySelector('#stations [data-shows=conv1] canvas');
        return [c.width, c.height, c.toDataURL()]; }"""
    width, height, before = page.evaluate(read)
    assert (width, height) == (2 * 29 - 1, 3 * 29 - 1)  # six maps of 28×28, two beside each other
    page.check("#errors")
    assert page.evaluate(read)[2] != before
    page.uncheck("#errors")
    assert page.evaluate(read)[2] == before


def test_a_click_on_a_value_shows_its_kernel_over_its_input(page, digits, params, open_port):
    choose(page, "conv2", 1, "torch", "tf")
    box = page.locator('[data-map="a"]').bounding_box()
    side = min(box["width"], box["height"])  # of the picture: 4×4 maps of 10×10, with gaps
    at = {"x": 4.5 / 43 * side, "y": (box["height"] - side) / 2 + 4.5 / 43 * side}
    page.locator('[data-map="a"]').click(position=at)
    assert page.inner_text("#sum-of") == "conv2, map 0, row 4, column 4"
    index = shown_index(page, 1)
    before = values_of(open_port("torch"), params, digits, index)["pool1"][0]
    after = {name: values_of(open_port(name), params, digits, index)["conv2"] for name in ("torch", "tf")}
    window, kernel = before[:, 4:9, 4:9], params["conv2.weight"][0]
    cells = page.locator("#terms td").all_inner_texts()
    shown = [tuple(map(float, text.replace("×", "").split())) for text in cells]
    expected = zip(window.reshape(-1), kernel.reshape(-1), strict=True)
    assert shown == [(float(f"{x:.3f}"), float(f"{w:.3f}")) for x, w in expected]
    told = page.locator("#sums td:nth-of-type(1)").evaluate_all("all => all.map(one => +one.dataset.value)")
    products = window.astype(float) * kernel
    assert told[0] == pytest.approx(products.sum() + params["conv2.bias"][0], rel=1e-14)
    assert told[-2:] == [float(after[name][0, 0, 4, 4]) for name in ("torch", "tf")]
    in_order = (
        np.add.accumulate((window * kernel).reshape(-1), dtype=np.float32)[-1] + params["conv2.bias"][0]
    )
    assert told[1] == float(in_order)
    assert told[1] != told[2]  # the other way round it is another
    assert page.locator("#sum-input i").count() == len(before)  # a frame in each map
    page.click('#stations [data-layer="pool1"]')
    assert not page.is_visible("#sums")
    assert page.locator("#terms td.winner").count() >= 1


@pytest.mark.parametrize(
    ("bug", "layer", "mistake"), [("flipped", "conv2", flipped_kernel), ("bias", "fc1", no_bias)]
)
def test_a_planted_bug_is_computed_in_the_page_and_named_at_its_layer(
    page, digits, params, bug, layer, mistake
):
    choose(page, "conv2", 3)
    page.select_option("#bug", bug)
    assert page.get_attribute("#bug-told", "data-first") == layer
    one = digits.images[shown_index(page, 3) :][:1]
    exact = reference(params, one)
    wrong = values_of(Planted(layer, mistake), params, digits, shown_index(page, 3))
    for name in ACTIVATION_SHAPES:
        off, bound = np.abs(wrong[name] - exact[name].value), exact[name].bound
        share = np.divide(off, bound, out=np.where(off > 0, np.inf, 0), where=bound > 0).max()
        told = float(page.get_attribute(f"#planted [data-shows={name}] .share", "data-value"))
        if share <= 1:
            assert told <= 1
        else:
            assert told == pytest.approx(share, rel=0.02)
    assert f"The answer is {wrong['logits'].argmax()}." in page.inner_text("#bug-told")


def test_every_bug_is_seen_and_the_right_loop_is_right(page):
    for digit in (0, COUNT - 1):
        page.click(f'#strip button[data-digit="{digit}"]')
        for bug, layer in json.loads(
            page.evaluate("JSON.stringify(Object.entries(BUGS).map(([k, b]) => [k, b.layer || '']))")
        ):
            page.select_option("#bug", bug)
            assert page.get_attribute("#bug-told", "data-first") == layer
            assert ("The same function." in page.inner_text("#bug-told")) == (bug == "none")


@pytest.mark.slow
def test_the_canvas_starts_with_a_digit_and_every_layer_runs_while_one_is_drawn(open_at):
    page = open_at()
    page.wait_for_selector("body[data-ready=runtime]")
    assert f"Test digit {shown_index(page, 0)}:" in page.inner_text("#guess")
    read = """() => Object.fromEntries([...document.querySelectorAll('#live [data-shows]')].map(
        (one) => [one.dataset.shows, one.querySelector('canvas').toDataURL()]))"""
    first = page.evaluate(read)
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 90, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=8)
    page.wait_for_function(
        "document.querySelector('#guess').textContent.includes(' with ')"
    )  # not yet let go
    drawn = page.evaluate(read)
    assert all(first[name] != drawn[name] for name in ["image", *ACTIVATION_SHAPES])
    page.mouse.up()
    widths = page.locator("#chances td:nth-of-type(1)").evaluate_all(
        "all => all.map(one => one.style.getPropertyValue('--part'))"
    )
    chances = page.locator("#chances td:nth-of-type(1)").evaluate_all(
        "all => all.map(one => +one.dataset.value)"
    )
    assert sum(chances) == pytest.approx(1)
    assert [float(one.rstrip("%")) for one in widths] == pytest.approx([100 * one for one in chances])


def test_a_port_has_one_colour_and_logits_have_labels(page):
    choose(page, "logits", 0)
    dots = page.locator(".port:visible").evaluate_all(
        """all => all.filter((one) => !one.querySelector("select")).map(
            (one) => [one.textContent, getComputedStyle(one, "::before").backgroundColor])"""
    )
    seen = {name: color for name, color in dots if name in PORTS}
    assert set(seen) == set(PORTS)
    assert all(color == seen[name] for name, color in dots if name in PORTS)
    for name, color in seen.items():
        assert color == f"rgb{tuple(bytes.fromhex(plots.color(name)[1:]))}"
    assert page.locator(".maps .classes").first.inner_text().split() == list("0123456789")
    assert page.locator("#stations .classes").inner_text().split() == list("0123456789")
    page.click('#stations [data-layer="fc2"]')
    assert not page.locator(".maps .classes").first.is_visible()


def test_on_a_telephone_code_is_stacked_and_wide_tables_say_so(open_at):
    page = open_at("?layer=conv2", NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    left = page.locator("#sources tr.differs:visible td.code:nth-child(2)").first.bounding_box()
    right = page.locator("#sources tr.differs:visible td.code:nth-child(4)").first.bounding_box()
    assert left["x"] == right["x"]
    assert left["y"] < right["y"]
    outside = """all => all.filter((one) => one.getBoundingClientRect().right > innerWidth
        && !one.closest(".scroll")).map((one) => one.outerHTML)"""
    assert page.locator("main *:visible").evaluate_all(outside) == []
    wide = page.locator(".scroll:visible").evaluate_all(
        """all => all.map(
            (one) => [one.scrollWidth > one.clientWidth + 2, getComputedStyle(one, "::before").content])"""
    )
    assert any(is_wide for is_wide, _ in wide)
    assert all(("more to the right" in hint) == is_wide for is_wide, hint in wide)
    sizes = page.locator(".timeline li").evaluate_all(
        "all => all.map((one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 12


def test_code_names_its_file_and_no_panel_scrolls(page):
    choose(page, "conv1", 0, "torch", "tf")
    names = page.locator(".called:visible .file-name").all_inner_texts()
    assert "lenet_torch/model.py" in names
    assert "lenet_caffe/deploy.prototxt" in names
    assert page.locator("#sources th:visible").all_inner_texts()[:2] == [
        "lenet_torch/model.py",
        "lenet_tf/model.py",
    ]
    hidden = page.evaluate("(() => { const s = $('#sources'); return s.scrollHeight - s.clientHeight; })()")
    assert hidden <= 1


def test_each_logit_lies_beside_its_label(page):
    for width in (NARROW, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for row in ("stations", "live", "planted"):
            station = page.locator(f"#{row} [data-shows=logits]")
            canvas = station.locator("canvas")
            assert canvas.evaluate("one => [one.width, one.height]") == [1, 10]
            cells = canvas.bounding_box()
            labels = station.locator(".classes i").all()
            assert [one.inner_text() for one in labels] == list("0123456789")
            for i, box in enumerate(one.bounding_box() for one in labels):
                middle = cells["y"] + (i + 0.5) * cells["height"] / 10
                assert box["y"] + box["height"] / 2 == pytest.approx(middle, abs=1)
                assert box["y"] + box["height"] <= station.locator("b").bounding_box()["y"]


def test_the_canvas_follows_the_choice_until_something_is_drawn_and_a_tap_is_a_dot(page):
    page.wait_for_selector("body[data-ready=runtime]")
    page.click("#put")
    page.click('#strip button[data-digit="3"]')
    page.select_option("#a", "torch")
    shown = f"digit {shown_index(page, 3)}:"
    page.wait_for_function("shown => document.querySelector('#guess').textContent.includes(shown)", arg=shown)
    page.wait_for_function("document.querySelector('#chances').textContent.includes(\"torch's logit\")")
    page.locator("#pad").click(position={"x": 140, "y": 200})
    page.wait_for_function("document.querySelector('#guess').textContent.includes(' with ')")
    share = page.locator("#chances tr.on td").first.inner_text()
    assert page.inner_text("#guess").endswith(f"with {share}")
    grey = "([x, y]) => document.querySelector('#pad').getContext('2d').getImageData(x, y, 1, 1).data[0]"
    assert [page.evaluate(grey, at) for at in ([140, 200], [148, 200], [155, 200], [140, 140])] == [
        255,
        255,
        0,
        0,
    ]
    page.click('#strip button[data-digit="4"]')
    assert page.evaluate(grey, [140, 200]) == 255
    assert " with " in page.inner_text("#guess")


def test_a_port_chosen_twice_is_swapped_by_hand_and_by_address(page, open_at):
    choose(page, "conv1", 0, "torch", "tf")
    page.select_option("#b", "torch")
    kept = "() => [state.a, state.b, document.querySelector('#pair').textContent]"
    assert page.evaluate(kept) == ["tf", "torch", "torch and tf"]
    again = open_at("?a=torch&b=torch")
    a, b, pair = again.evaluate(kept)
    assert (a != b, b) == (True, "torch")
    assert set(pair.split(" and ")) == {a, b}
    assert again.is_visible("#sources")


def test_comments_and_line_numbers_can_be_read(page):
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for a, b in (("numpy", "tf"), ("torch", "tf")):
            page.evaluate("pair => choose({ ...pair, whole: true })", {"a": a, "b": b})
            assert contrast.least(page, "#sources .comment") >= 4.5
            assert contrast.least(page, "#sources td.no.here") >= 3
    page.evaluate("choose({ whole: false })")
