"""The report page in a real browser: it loads alone, reacts, and shows the numbers that Python computes."""

import base64
import re

import numpy as np
import pytest

from lenet.compare import compare
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.reference.forward import reference
from lenet.show.tables import ratio
from tests.lenet.show.report_reader import COUNT, HAS_WEB, PORTS, choose, is_silent, open_report, shown_index


@pytest.fixture(scope="module")
def page(browser, report_address):
    page = open_report(browser, report_address)
    yield page
    page.close()


@pytest.fixture(autouse=True)
def silence(page):
    """No test may leave anything on the console, or go to the network."""
    yield
    is_silent(page)


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "digit"), [("conv1", 0), ("conv2", 10), ("fc1", 11), ("logits", 3)])
def test_numbers_on_the_page_are_those_of_python(page, digits, params, open_port, layer, digit):
    choose(page, layer, digit)
    one = digits[shown_index(page, digit) :][:1]
    judged = compare([open_port(name) for name in PORTS], params, one)
    exact = reference(params, one.images)[layer]
    for report in judged.ports:
        port = open_port(report.name)
        off = np.abs(port.activations(one.images)[layer] - exact.value)
        bound = exact.bound.flat[off.argmax()]
        found = report.layers[layer]
        cells = page.locator(f'#numbers tr[data-port="{report.name}"] td')
        values = cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.value))")
        answer = int(port.logits(one.images).argmax())
        assert values == [
            found.max_abs_error,
            bound,
            found.end_to_end_ratio,
            found.local_ratio,
            found.bit_equal,
            answer,
        ]
        told = cells.all_inner_texts()
        assert float(told[0]) == float(f"{found.max_abs_error:.2e}")
        assert float(told[1]) == float(f"{bound:.2e}")
        if found.local_ratio >= 0.001:
            assert told[3] == ratio(found.local_ratio)


@pytest.mark.parametrize(("layer", "a", "b"), [("conv1", "numpy", "tf"), ("fc2", "torch", "numpy")])
def test_the_difference_of_two_ports_is_that_of_their_arrays(page, digits, params, open_port, layer, a, b):
    choose(page, layer, 4, a, b)
    one = digits[shown_index(page, 4) :][:1]
    arrays = []
    for name in (a, b):
        open_port(name).load(params)
        arrays.append(open_port(name).activations(one.images)[layer])
    apart = np.abs(arrays[0].astype(np.float64) - arrays[1])
    told = page.evaluate("() => ({...document.querySelector('#pair-told').dataset})")
    assert float(told["largest"]) == apart.max()
    assert int(told["equal"]) == int((arrays[0] == arrays[1]).sum())
    assert int(told["values"]) == apart.size
    bound = reference(params, one.images)[layer].bound
    shares = np.divide(apart, 2 * bound, where=bound > 0, out=np.zeros_like(apart))
    # the page's bounds are rounded up to float32: at most one part in 2^23 larger
    assert shares.max() * (1 - 2.0**-22) <= float(told["ratio"]) <= shares.max()


def test_feature_maps_are_painted_from_the_values(page, digits, params, open_port):
    """Brightest where the value is largest; equal values of two ports are painted as equal."""
    choose(page, "pool2", 2, "torch", "numpy")
    canvas = page.locator('[data-map="a"]')
    assert canvas.evaluate("canvas => [canvas.width, canvas.height]") == [23, 23]  # 4×4 maps of 5×5, 3 gaps
    one = digits[shown_index(page, 2) :][:1]
    outputs = []
    for name in ("torch", "numpy"):
        open_port(name).load(params)
        outputs.append(open_port(name).activations(one.images)["pool2"][0])
    read = """(which) => { const c = document.querySelector(`[data-map=${which}]`);
        return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"""
    maps = np.reshape(page.evaluate(read, "a"), (23, 23, 4)).astype(int)
    channel, row, column = np.unravel_index(outputs[0].argmax(), outputs[0].shape)
    empty = np.argwhere(outputs[0] == 0)[0]

    def pixel(picture, channel, row, column):
        return picture[6 * (channel // 4) + row, 6 * (channel % 4) + column]

    dark, light = pixel(maps, channel, row, column), pixel(maps, *empty)
    assert dark[:3].sum() < light[:3].sum()  # on the light page
    apart = np.reshape(page.evaluate(read, "a-b"), (23, 23, 4)).astype(int)
    none = pixel(apart, *empty)
    for index in np.ndindex(outputs[0].shape):
        same = outputs[0][index] == outputs[1][index]
        assert (pixel(apart, *index) == none).all() == same


def test_every_layer_can_be_chosen_by_its_drawing(page):
    for layer in ACTIVATION_SHAPES:
        page.click(f'.station[data-layer="{layer}"]')
        assert page.locator(".station[aria-pressed=true]").get_attribute("data-layer") == layer
        assert page.locator(".called:visible").get_attribute("data-layer") == layer
        assert page.input_value("#layer") == layer
        assert f"{layer} of digit" in page.inner_text("#numbers caption")
        about = page.locator("#sources td.about + td.code").all_inner_texts()
        assert about
        assert all(layer in line for line in about)


def test_sources_of_the_chosen_ports_are_side_by_side_and_modes_say_why_not(page):
    choose(page, "conv2", 0, "numpy", "tf")
    assert page.inner_text("#pair") == "numpy and tf"
    lines = "\n".join(page.locator("#sources td.code").all_inner_texts())
    assert 'name="conv2"' in lines
    assert 'y["conv2"], cache["conv2"] = conv2d(' in lines
    hidden = page.locator("#sources tbody.hide").count()
    page.check("#whole")
    assert hidden > 0
    assert page.locator("#sources tbody.hide").count() == 0
    page.uncheck("#whole")
    page.evaluate("choose({ a: 'numpy', b: 'numpy' })")  # as on the page of one port
    assert page.is_visible("#no-pair")
    assert not page.is_visible("#sources")
    assert page.inner_text("#pair") == "numpy and numpy"


def test_the_keyboard_is_enough(page):
    choose(page, "conv1", 0)
    page.focus('.station[data-layer="conv1"]')
    page.keyboard.press("ArrowRight")
    assert page.input_value("#layer") == "relu1"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.input_value("#layer") == "pool1"
    page.focus('#strip button[aria-checked="true"]')
    page.keyboard.press("ArrowLeft")
    assert page.locator('#strip button[aria-checked="true"]').get_attribute("data-digit") == str(COUNT - 1)
    assert page.evaluate("document.activeElement.dataset.digit") == str(COUNT - 1)
    page.focus("#theme")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Space")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press("Space")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_a_digit_tells_label_answer_and_margin(page, digits):
    for digit in (0, COUNT - 1):
        page.click(f'#strip button[data-digit="{digit}"]')
        index = shown_index(page, digit)
        told = page.inner_text("#digit-told")
        assert f"Test digit {index}: every port answers" in told
        assert "certified" in told
        assert f"digit {index} (a {digits.labels[index]})" in page.inner_text("#chosen-digit")


@pytest.mark.parametrize("width", [320, 390, 800])
def test_a_narrow_screen_needs_no_sideways_scrolling(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    try:
        for layer in ("conv2", "logits"):
            choose(page, layer, 1)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


def test_dark_follows_the_system_and_pictures_are_painted_anew(page):
    choose(page, "conv1", 0)
    read = "document.querySelector('[data-map=a]').toDataURL()"
    light, paper = page.evaluate(read), page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    page.wait_for_function(f"before => {read} !== before", arg=light)  # the page is told of it a little later
    page.emulate_media(color_scheme="light")


def test_the_value_under_the_pointer_is_told(page, digits, params, open_port):
    choose(page, "logits", 0)
    page.hover('[data-map="a"]', position={"x": 2, "y": 2})
    open_port("torch").load(params)
    value = open_port("torch").activations(digits.images[shown_index(page, 0) :][:1])["logits"][0, 0]
    told = re.findall(r"^class 0: torch (\S+),", page.inner_text("#value-told"))
    assert np.float32(told[0]) == value


def test_a_test_digit_on_the_canvas_has_the_ports_logits(page):
    """Within the end-to-end bound, by onnxruntime-web where its files are, else by the page's own loops."""
    page.wait_for_selector("body[data-ready=runtime]")
    by = "onnxruntime-web, with every layer" if HAS_WEB else "make web && lenet report --web web"
    assert by in page.inner_text("#draw")
    for digit in (0, COUNT - 1):
        choose(page, "logits", digit, "numpy", "torch")
        page.click("#put")
        index = shown_index(page, digit)
        page.wait_for_function(f"document.querySelector('#guess').textContent.includes('digit {index}:')")
        assert 0 <= float(page.get_attribute("#guess", "data-worst")) <= 1
        assert "the same function as the ports" in page.inner_text("#guess")
        cells = page.locator("#chances tr td:nth-of-type(2)")
        logits = cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.value))")
        shares = page.locator("#chances tr td:nth-of-type(4)")  # of what rounding allows the two
        assert max(shares.evaluate_all("cells => cells.map(cell => Number(cell.dataset.value))")) <= 1
        assert len(set(logits)) == 10
        assert np.argmax(logits) == int(page.inner_text("#guess b"))
    page.click("#clear")
    page.wait_for_function("document.querySelector('#guess').textContent.includes('Draw a digit')")
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240, steps=12)
    page.mouse.up()
    page.wait_for_selector("#guess b")
    assert page.inner_text("#guess b") == "1"
    seen = page.evaluate(
        "[...document.querySelector('#seen').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    ink = np.reshape(seen, (28, 28, 4))[..., 0]
    rows = np.flatnonzero(ink.any(axis=1))
    # 20 pixels high; its middle, between two pixels, is as near to pixel 14 either way
    assert (rows[0], rows[-1]) in ((4, 23), (5, 24))
    assert ink.max() == 255


def test_it_prints(page):
    page.emulate_media(media="print")
    assert not page.is_visible("#choice")
    assert page.is_visible("#verdicts")
    page.emulate_media(media="screen")
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert len(base64.b64encode(content)) > 50_000
