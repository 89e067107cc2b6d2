"""The parts of the report page, one by one: what is drawn and computed of each layer, and which digits."""

import base64
import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest

from lenet.compare import Comparison
from lenet.network.architecture import ACTIVATION_SHAPES, LAYERS, PARAM_SHAPES
from lenet.network.digits import Digits
from lenet.ports.lockstep import Lockstep
from lenet.show import drawn_digit
from lenet.show.migrations import Layouts
from lenet.show.page import arrays, chosen_digits, collect, drawing, render, site, web
from parity.arithmetic import Bounded
from parity.errors import UserError
from tests.helpers import one_line
from tests.planted.ports import numpy_port

LAYER = {layer.name: layer for layer in LAYERS}
LAYOUTS = Layouts("NHWC", "HWIO", "(in, out)", "HWC")


def test_every_layer_is_described_with_its_sums_and_parameters():
    told = {one.name: (one.kind, one.size, one.what) for one in drawing.stations()}
    assert list(told) == ["image", *ACTIVATION_SHAPES]
    expected = {
        "image": ("image", "1×28×28", "pixels in [0, 1]"),
        "conv1": (
            "conv",
            "6×28×28",
            "convolution 5×5, padding 2; 25 products in each of 4,704 sums; 156 parameters",
        ),
        "relu1": ("relu", "6×28×28", "ReLU: max(x, 0); rounds nothing"),
        "pool1": ("pool", "6×14×14", "maximum of every 2×2 window; rounds nothing"),
        "flatten": (
            "flatten",
            "400",
            "maps to features, in the order channel, row, column; rounds nothing",
        ),
        "fc1": (
            "dense",
            "120",
            "dense layer, 400 to 120; 400 products in each of 120 sums; 48,120 parameters",
        ),
    }
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("conv1", {"kind": "conv", "kernel": 5, "padding": 2}),
        ("conv2", {"kind": "conv", "kernel": 5, "padding": 0}),
        ("relu1", {"kind": "relu", "kernel": 0, "padding": 0}),
        ("pool1", {"kind": "pool", "kernel": 2, "padding": 0}),
        ("flatten", {"kind": "flatten", "kernel": 0, "padding": 0}),
        ("fc1", {"kind": "dense", "kernel": 0, "padding": 0}),
    ],
)
def test_the_page_computes_a_layer_by_its_kind_and_sizes(layer, expected):
    assert drawing.to_compute(LAYER[layer]) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        *(("conv1", "NHWC, kernels HWIO"), ("relu1", "NHWC"), ("pool2", "NHWC"), ("flatten", "HWC")),
        *(("fc1", "(in, out)"), ("relu3", "as they are")),
    ],
)
def test_the_axes_of_a_layer_are_those_that_were_measured(layer, expected):
    assert render.axes(LAYOUTS, LAYER[layer]) == expected
    assert render.axes(None, LAYER[layer]) == ""


def test_the_losses_of_a_run_are_told_with_their_largest_difference():
    losses = np.array([[2.5, 2.5, 2.25], [1.5, 1.75, 1.0], [0.5, 0.25, 0.5]])
    run = Lockstep(losses, np.zeros((3, 2)))
    assert render.apart(SimpleNamespace(run=run)) == (2.5, 0.5, 0.75)  # type: ignore[arg-type]
    assert render.apart(None) is None


def test_data_cannot_end_the_script_that_holds_them():
    assert render.script_json({"a": "</script>", "b": float("nan")}) == '{"a": "\\u003c/script>", "b": null}'


# --- values ------------------------------------------------------------------------------------


def test_a_value_belongs_to_the_layer_in_which_it_lies():
    ends = np.cumsum([np.prod(shape) for shape in ACTIVATION_SHAPES.values()])
    starts = [0, *ends[:-1]]
    assert [arrays.layer_at(int(i)) for i in starts] == list(ACTIVATION_SHAPES)
    assert [arrays.layer_at(int(i) - 1) for i in ends] == list(ACTIVATION_SHAPES)
    assert ends[-1] == arrays.VALUES


def test_values_of_digits_and_ports_are_collected_and_their_bounds_never_shrink():
    def digit(value: float, bound: float) -> dict[str, Bounded]:
        return {
            name: Bounded(np.full((1, *shape), value), np.full((1, *shape), bound))
            for name, shape in ACTIVATION_SHAPES.items()
        }

    port = [np.full(arrays.VALUES, 0.5, np.float32), np.full(arrays.VALUES, 1.5, np.float32)]
    found = arrays.stack([digit(0.1, 2.0**-30), digit(0.2, 1 + 2.0**-30)], [port])
    assert (found.reference.shape, found.ports.shape) == ((2, arrays.VALUES), (1, 2, arrays.VALUES))
    assert (found.reference == [[0.1], [0.2]]).all()
    assert found.bounds.dtype == np.float32
    assert (found.bounds == [[2.0**-30], [1 + 2.0**-23]]).all()
    assert (found.ports == [[[0.5], [1.5]]]).all()
    again = arrays.unpack(arrays.pack(found), 2)
    for name in ("reference", "bounds", "ports"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_weights_are_packed_in_the_order_of_the_network():
    params = {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(PARAM_SHAPES.items())}
    shuffled = dict(reversed(params.items()))
    text = arrays.pack_weights(shuffled)
    found = np.frombuffer(gzip.decompress(base64.b64decode(text)), "<f4")
    np.testing.assert_array_equal(found, np.concatenate([array.ravel() for array in params.values()]))
    assert arrays.pack_weights(params) == text


def test_the_digits_of_a_run_are_told_with_what_is_hardest_first(params, digits, monkeypatch):
    """Two digits of each of two classes: first one of each class, then the rest by their margin."""
    some = Digits(digits.images[:4], np.array([3, 3, 5, 3]))
    leads = {0: 0.5, 1: 0.25, 2: 0.75, 3: 0.125}
    monkeypatch.setattr(
        chosen_digits,
        "_measured",
        lambda params, digits, indices: [chosen_digits.Chosen(i, 0, 0, leads[i]) for i in indices],
    )
    logits = np.zeros((4, 10), np.float32)
    logits[:, 1] = [4, 3, 2, 1]
    port = SimpleNamespace(logits=lambda images: logits[: len(images)])
    chosen = chosen_digits.choose(params, some, port, 4)  # type: ignore[arg-type]
    assert [one.index for one in chosen] == [0, 2, 3, 1]
    chosen = chosen_digits.choose(params, some, port, 3)  # type: ignore[arg-type]
    assert [one.index for one in chosen] == [0, 2, 3]


def test_the_work_is_told_as_it_is_done(monkeypatch, digits):
    told: list[tuple[str, int]] = []

    def compare(ports, params, digits, progress, right):
        progress(7)
        return Comparison(len(digits), 0, [])

    def note(doing: str, done: int) -> None:
        told.append((doing, done))

    monkeypatch.setattr(collect, "compare", compare)
    monkeypatch.setattr(collect, "look", lambda *given: given[-1]("looking", 1) or ([], None))
    monkeypatch.setattr(collect.exact_bits, "right", lambda *given: None)
    monkeypatch.setattr(collect, "certify_range", lambda *given: None)
    collect.collect([], {}, {}, digits[:20], 2, 2, note)
    assert told == [("judging digits", 7), ("looking", 1)]
    told.clear()
    training = collect.train([numpy_port()], digits[:20], 2, note)
    assert told == [("training in lockstep", collect.STEP)] * 2
    assert training is not None
    assert training.names == ["numpy float32"]
    assert (training.recipe.epochs, training.recipe.schedule) == (2, "cosine")
    assert collect.work(20, 2, 3) == 20 + 2 * collect.CHOSEN + 3 * collect.STEP


# --- files -------------------------------------------------------------------------------------


def test_onnxruntime_web_is_packed_compressed(tmp_path, monkeypatch):
    names = {"module.mjs": b"export", "code.wasm": b"\0asm" * 100}
    digests = {name: web.hashlib.sha256(content).hexdigest() for name, content in names.items()}
    monkeypatch.setattr(web, "FILES", digests)
    with pytest.raises(UserError) as refusal:
        web.read(tmp_path)
    said = "cannot be read (No such file or directory); `make web` fetches it"
    assert one_line(refusal) == f"{tmp_path / 'module.mjs'}: {said}"
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    found = web.read(tmp_path)
    assert base64.b64decode(found.module) == b"export"
    packed = base64.b64decode(found.wasm)
    assert gzip.decompress(packed) == b"\0asm" * 100
    assert packed[4:8] == b"\0\0\0\0"  # no time: the same page is the same file
    (tmp_path / "code.wasm").write_bytes(b"")
    with pytest.raises(UserError) as refusal:
        web.read(tmp_path)
    said = f"not that of onnxruntime-web {web.VERSION}; `make web` fetches it"
    assert one_line(refusal) == f"{tmp_path / 'code.wasm'}: {said}"


def test_the_pages_of_the_site_compare_neighbours_in_history(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "folders", lambda: {"numpy": "lenet_numpy", "torch": "", "tf": ""})
    monkeypatch.setattr(site.side_by_side, "compare_folders", lambda a, b: f"{a} with {b}")
    monkeypatch.setattr(site.side_by_side, "to_html", lambda files, a, b: (files, a, b))
    monkeypatch.setattr(site, "migrate", lambda name: f"migrated {name}")
    monkeypatch.setattr(site, "_migrations", lambda found: found)
    monkeypatch.setattr(site, "workshop", lambda folder: [])
    said: list[str] = []
    assert site.pages(tmp_path, said.append) == {
        "numpy-torch.html": ("numpy → torch", ("numpy with torch", "numpy", "torch")),
        "torch-tf.html": ("torch → tf", ("torch with tf", "torch", "tf")),
        "migrations.html": ("migrations, measured", ["migrated numpy", "migrated torch", "migrated tf"]),
    }
    assert said == [
        *("comparing numpy and torch", "comparing torch and tf", "comparing torch and tf"),
        *("running numpy", "running torch", "running tf"),
    ]
    assert site.count() == len(said)


def test_a_lesson_has_its_heading_and_links_to_what_is_there(tmp_path, monkeypatch):
    root, folder = tmp_path / "root", tmp_path / "site"
    for place in (root / "workshop" / "bugs", folder / "workshop"):
        place.mkdir(parents=True)
    monkeypatch.setattr(site, "ROOT", root)
    monkeypatch.setattr(site, "WORKSHOP", root / "workshop")
    cells = [
        {"cell_type": "code", "source": ["# no heading\n"]},
        {"cell_type": "markdown", "source": ["## A ", "title\n", "# Another"]},
    ]
    (root / "workshop" / "01_a.ipynb").write_text(json.dumps({"cells": cells}))
    (root / "workshop" / "bugs" / "README.md").write_text("no heading\n")
    (folder / "workshop" / "01_a.html").touch()
    page = site.Link("page", "workshop/01_a.html")
    assert site.workshop(folder) == [
        ["workshop/01_a.ipynb", "A title", page, ""],
        ["workshop/bugs/README.md", "", "", ""],
    ]
    (folder / "workshop" / "01_a.slides.html").touch()
    assert site.workshop(folder)[0][3] == site.Link("slides", "workshop/01_a.slides.html")
    rows: list[list[str | site.Link]] = [["a", "", page], ["b", "", ""]]
    assert site.filled(["x", "y", "z"], rows) == (["x", "z"], [["a", page], ["b", ""]])
    (root / "workshop" / "01_a.ipynb").write_text("{}")
    with pytest.raises(UserError) as refusal:
        site.workshop(folder)
    assert one_line(refusal) == f"{root / 'workshop' / '01_a.ipynb'}: not a notebook; restore it"


def test_a_folder_for_the_site_is_made_or_refused(tmp_path):
    for _ in range(2):
        site.make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as refusal:
        site.make_folder(tmp_path / "file" / "b")
    said = "cannot be made (Not a directory); choose another place"
    assert one_line(refusal) == f"{tmp_path / 'file' / 'b'}: {said}"


# --- a digit in the terminal -------------------------------------------------------------------


def test_a_digit_is_drawn_with_two_pixels_in_a_character():
    image = np.zeros((1, 28, 28))
    image[0, 0, 0] = image[0, 1, 1] = 1
    image[0, 26:, 27] = 0.4

    def console(**options: object) -> SimpleNamespace:
        known = {"color_system": "truecolor", "no_color": False, "options": SimpleNamespace(ascii_only=False)}
        return SimpleNamespace(**known | options)

    for plain in (
        {"color_system": None},
        {"no_color": True},
        {"options": SimpleNamespace(ascii_only=True)},
    ):
        lines = drawn_digit.draw(image, console(**plain)).plain.split("\n")  # type: ignore[arg-type]
        assert lines == ["==" + " " * 26, *[" " * 28] * 12, " " * 27 + "-"]
    shown = drawn_digit.draw(image, console())  # type: ignore[arg-type]
    assert shown.plain.split("\n") == ["▀" * 28] * 14
    styles = [span.style for span in shown.spans if not isinstance(span.style, str)]
    assert [str(style) for style in (styles[0], styles[1], styles[2], styles[-1])] == [
        "rgb(255,255,255) on rgb(0,0,0)",
        "rgb(0,0,0) on rgb(255,255,255)",
        "rgb(0,0,0) on rgb(0,0,0)",
        "rgb(102,102,102) on rgb(102,102,102)",
    ]
