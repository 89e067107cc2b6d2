"""The report page without a browser: its data are computed, its text says them, it needs no network."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from export import from_numpy
from lenet.commands.cli import cli
from lenet.compare import compare
from lenet.compare.speed import Bench, Timing, read
from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES, LAYERS
from lenet.network.recipe import Recipe, batches, initial_params
from lenet.ports import FRAMEWORKS, open_port
from lenet.ports.lockstep import lockstep
from lenet.reference.exact import EXACT
from lenet.reference.forward import certified, reference
from lenet.show.migrations import folders
from lenet.show.originals import Originals
from lenet.show.page import arrays, chosen_digits, code, collect, render, site, web
from parity.errors import UserError
from tests.helpers import one_line
from tests.planted.ports import Planted, flipped_kernel, numpy_port

DIGITS, COUNT, STEPS = 30, 12, 3
BENCH = Bench(1, 3, 70.0, [Timing("numpy", "2", "forward", 1, 123.4), Timing("caffe", "4", "train", 1, None)])


@pytest.fixture(scope="module")
def report(digits, params):
    """Of a port that is right and one that is not."""
    wrong = Planted("conv2", flipped_kernel)
    wrong.name = "numpy:wrong"
    some, exact = digits[:DIGITS], weights.read(EXACT)
    return collect.collect([numpy_port(), wrong], params, exact, some, COUNT, STEPS)


ORIGINALS = Originals(
    frozenset({"torch"}), {"Lasagne 0.1": 2015}, ["recording", "found"], [["lasagne", "a <flip>"]]
)


@pytest.fixture(scope="module")
def html(report, params):
    return render.page(report, BENCH, from_numpy.export(params).SerializeToString(), None, ORIGINALS)


class Page(HTMLParser):
    """The page's text by the id of the element that holds it, what it would load, and its tags in balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.loads += [v or "" for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "col", "link", "br", "img", "input"):
            self.open.append((tag, dict(attributes).get("id") or ""))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_data(self, text):
        for _, name in self.open:
            self.texts[name] = self.texts.get(name, "") + text


def test_each_shown_digits_numbers_are_those_of_lenet_compare(report, digits, params):
    for shown in report.shown:
        index = shown.chosen.index
        judged = compare([numpy_port()], params, digits[index : index + 1]).to_json()["ports"][0]
        for name, found in shown.layers["numpy"].items():
            assert {k: v for k, v in found.items() if k != "bound"} == judged["layers"][name]


@pytest.mark.slow
def test_the_bound_told_is_that_of_the_value_furthest_off(report, digits, params):
    shown = report.shown[3]
    index = shown.chosen.index
    port = numpy_port()
    port.load(params)
    image = digits.images[index : index + 1]
    found, expected = port.activations(image), reference(params, image)
    for name in ACTIVATION_SHAPES:
        off = np.abs(found[name] - expected[name].value)
        told = shown.layers["numpy"][name]
        assert told["bound"] == expected[name].bound.flat[off.argmax()]
        assert told["max_abs_error"] == off.max()


def test_strip_has_every_class_first_then_the_smallest_margins(digits, params):
    port = numpy_port()
    port.load(params)
    some = digits[:80]
    chosen = chosen_digits.choose(params, some, port, 20)
    first = [int(np.flatnonzero(some.labels == label)[0]) for label in range(10)]
    assert [one.index for one in chosen[:10]] == first
    logits = reference(params, some.images)["logits"]
    lead = np.sort(logits.value, axis=1)
    rest = [i for i in np.argsort(lead[:, -1] - lead[:, -2]) if i not in first][:10]
    assert {one.index for one in chosen[10:]} == {int(i) for i in rest}
    assert sorted(one.margin for one in chosen[10:]) == [one.margin for one in chosen[10:]]
    assert [one.margin > 0 for one in chosen] == [bool(certified(logits)[one.index]) for one in chosen]
    assert [one.label for one in chosen] == [int(some.labels[one.index]) for one in chosen]


def test_a_misclassified_digit_is_shown(digits, params):
    port = numpy_port()
    port.load(params)
    chosen = chosen_digits.choose(params, digits[:300], port, 14)  # 247 is the first that the network misses
    assert [one.index for one in chosen if one.answer != one.label] == [247]


@pytest.mark.slow
def test_packed_values_come_back_to_the_bit_and_bounds_never_shrink(report, digits, params):
    values = arrays.unpack(arrays.pack(report.values), COUNT)
    for found, kept in zip(
        (values.reference, values.bounds, values.ports),
        (report.values.reference, report.values.bounds, report.values.ports),
        strict=True,
    ):
        np.testing.assert_array_equal(found.view("i4"), kept.view("i4"))
    port = numpy_port()
    port.load(params)
    for i, shown in enumerate(report.shown):
        image = digits.images[shown.chosen.index : shown.chosen.index + 1]
        expected = reference(params, image)
        bounds = arrays.joined({name: one.bound for name, one in expected.items()})
        assert (values.bounds[i] >= bounds).all()
        assert (values.bounds[i] <= bounds * (1 + 2.0**-23) + 1e-45).all()
        np.testing.assert_array_equal(values.ports[0, i], arrays.joined(port.activations(image)))


def test_values_that_are_not_near_the_reference_are_packed_too():
    odd = np.array([[0.0, -0.0, 1e38, -1e38, 5e-45, 1.0] + [0.0] * (arrays.VALUES - 6)])
    far = -odd.astype(np.float32)[None]
    values = arrays.Values(odd, odd.astype(np.float32), far)
    assert arrays.unpack(arrays.pack(values), 1).ports.tobytes() == far.tobytes()


@pytest.mark.slow
def test_the_page_holds_the_json_of_compare_and_names_the_port_that_differs(report, html):
    page = Page(html)
    found = json.loads(page.texts["data"])
    assert found["comparison"] == json.loads(render.script_json(report.comparison.to_json()))
    assert [one["index"] for one in found["digits"]] == [one.chosen.index for one in report.shown]
    assert "numpy:wrong: a different function." in html
    assert "different at conv2" in page.texts["verdicts"]
    assert f"{report.comparison.certified} of {DIGITS} digits are certified" in page.texts["exact"]
    pixels = np.frombuffer(base64.b64decode(found["digits"][0]["pixels"]), np.uint8)
    np.testing.assert_array_equal(pixels.reshape(28, 28), report.shown[0].pixels)


def test_the_first_pair_differs_and_is_the_usual_one_if_that_differs():
    values = np.zeros((3, 2, arrays.VALUES), np.float32)
    assert render.first_pair(["numpy", "torch", "jax"], values) == ("numpy", "jax", "conv1")
    values[1, 1, -1] = 1  # torch differs, in the last logit of the second digit
    assert render.first_pair(["numpy", "torch", "jax"], values) == ("numpy", "torch", "logits")
    values[2, 0, 6 * 28 * 28] = 1  # jax in the first value of relu1
    assert render.first_pair(["numpy", "torch", "jax"], values) == ("numpy", "jax", "relu1")


@pytest.mark.slow
def test_the_page_loads_nothing_and_closes_every_tag(html):
    page = Page(html)
    assert page.open == []
    assert all(address.startswith(("#", "data:")) for address in page.loads)
    assert "@import" not in html
    assert not re.search(r"url\((?!#|data:)", html)
    assert "http://" not in re.sub(r"data:[^\"]*", "", html)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


@pytest.mark.slow
def test_certificate_and_training_are_told_as_computed(report, html):
    page = Page(html)
    for entry in report.certificate.sums:
        assert f"{entry.bound:,}" in page.texts["exact"]
        assert f"{entry.bits:.2f}" in page.texts["exact"]
    assert "Proven" in page.texts["exact"]
    assert "largest sum of magnitudes, in these multiples" in page.texts["exact"]
    losses = report.training.run.losses
    assert losses.shape == (STEPS, 3)
    assert f"falls from {losses[0, 0]:.3f} to {losses[-1, 0]:.3f}" in page.texts["training"]
    assert f"{(losses.max(axis=1) - losses.min(axis=1)).max():.1e}" in page.texts["training"]


@pytest.mark.slow
def test_a_port_without_a_line_in_the_training_plot_says_why(report):
    right, wrong = report.comparison.ports
    both = replace(report.comparison, ports=[right, replace(wrong, name="caffe")])
    text = Page(render.page(replace(report, comparison=both), None, b"", None, ORIGINALS)).texts["training"]
    assert f"caffe does not train: {FRAMEWORKS['caffe'].forward_only}." in text
    assert text.count("does not train") == 1


def test_a_runs_losses_and_distances_are_each_ports_own(digits):
    """Float64 beside float64 is the same run; float32 is not, and NumPy alone gives the same losses."""
    some, recipe = digits[:DIGITS], Recipe(epochs=STEPS)
    ports = [open_port("numpy", "float64"), numpy_port()]
    run = lockstep(open_port("numpy", "float64"), ports, some, recipe, STEPS)
    assert (run.distances[:, 1] > 0).all()
    assert (run.distances[:, 0] == 0).all()
    assert (run.losses[:, 0] == run.losses[:, 1]).all()
    alone = numpy_port()
    alone.load(initial_params(recipe.seed))
    assert list(alone.train(batches(some, recipe), recipe)) == list(run.losses[:, 2])
    assert (run.losses[:, 0] != run.losses[:, 2]).any()


def test_the_originals_are_shown_as_they_were_judged(html):
    text = Page(html).texts["time"]
    assert "the original, recorded" in text
    assert "lasagne" in text
    assert "a <flip>" in text
    assert "a &lt;flip&gt;" in html


def test_the_order_of_axes_stands_beside_the_source_of_a_layer(html):
    cells = re.findall(r"</pre></td><td>(.*?)</td></tr>", html)
    numpy = ["NCHW, kernels OIHW", "NCHW", "NCHW", "NCHW, kernels OIHW", "NCHW", "NCHW", "CHW"]
    numpy += ["(out, in)", "as they are", "(out, in)", "as they are", "(out, in)"]
    assert [one for one in cells if one != "–"] == numpy


@pytest.mark.slow
def test_a_bench_is_shown_as_read_and_its_absence_says_how_to_make_one(report, params, html, tmp_path):
    assert "123.4" in Page(html).texts["speed"]
    (tmp_path / "b.json").write_text(json.dumps(BENCH.to_json()))
    assert read(tmp_path / "b.json") == BENCH
    bare = Page(render.page(report, None, b"", None, ORIGINALS)).texts["speed"]
    assert "lenet bench --json bench.json" in bare
    assert not re.search(r"\d", bare)


@pytest.mark.parametrize(
    "content",
    [None, "", "{}", "[]", "{", '{"threads": 1, "rounds": 1, "sgemm_gflops": 1, "timings": []}', "NaN"]
    + [json.dumps(BENCH.to_json()).replace("123.4", bad) for bad in ("-1", "NaN", '"fast"')],
)
def test_a_file_that_is_no_bench_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as refusal:
        read(path)
    assert "lenet bench --json" in one_line(refusal) or "make it anew" in one_line(refusal)


def test_every_port_names_every_layer():
    for name in folders():
        found = code.called(name)
        assert list(found) == list(ACTIVATION_SHAPES)
        assert all(found.values()), name
    assert code.called("torch")["conv2"] == "conv2=nn.Conv2d(6, 16, kernel_size=5),"
    assert "convolution_param { num_output: 16 kernel_size: 5 }" in code.called("caffe")["conv2"]
    assert "conv1" not in code.called("caffe")["conv2"]


@pytest.mark.slow
def test_rows_of_the_sources_are_about_the_layers_that_they_name_or_define():
    found = {}
    for pair in code.pairs(["torch", "jax", "caffe"]):
        for file in pair.files:
            for definition in file.definitions:
                for row in definition.rows:
                    for line in filter(None, (row.left, row.right)):
                        layers = pair.layers_of(file, definition.name, line).split()
                        found[pair.a, pair.b, line.text.strip()] = layers
    assert found["torch", "jax", 'y["relu1"] = jax.nn.relu(y["conv1"])'] == ["conv1", "relu1"]
    convolution = "def conv2d(x: Array, layer: Affine, padding: str) -> Array:"
    assert found["torch", "jax", convolution] == ["conv1", "conv2"]
    assert found["torch", "caffe", "inner_product_param { num_output: 84 }"] == ["fc2"]
    assert {(a, b) for a, b, _ in found} == {("torch", "jax"), ("torch", "caffe"), ("jax", "caffe")}


@pytest.mark.slow
def test_every_pair_of_ports_has_its_sources_and_every_layer_its_table(html):
    assert html.count('<div class="called"') == len(LAYERS)
    assert "<template" not in html  # numpy beside a port without a folder
    assert [(pair.a, pair.b) for pair in code.pairs(["numpy", "torch", "tf", "numpy:fast"])] == [
        ("numpy", "torch"),
        ("numpy", "tf"),
        ("torch", "tf"),
    ]


def test_other_files_than_onnxruntime_webs_are_refused(tmp_path):
    with pytest.raises(UserError, match="make web"):
        web.read(tmp_path)
    for name in web.FILES:
        (tmp_path / name).write_bytes(b"alert(1)")
    with pytest.raises(UserError) as refusal:
        web.read(tmp_path)
    assert web.VERSION in one_line(refusal)


def test_the_makefile_fetches_the_version_that_is_expected():
    text = site.ROOT.joinpath("Makefile").read_text()
    assert f"ORT := onnxruntime-web-{web.VERSION}\n" in text
    assert re.search(r"^ORT_SHA512 := [0-9a-f]{128}$", text, re.MULTILINE)


@pytest.mark.slow
def test_the_site_has_the_diffs_the_migrations_and_the_workshop(monkeypatch, tmp_path):
    monkeypatch.setattr(site, "folders", lambda: {name: folders()[name] for name in ("numpy", "torch")})
    calls: list[str] = []
    (tmp_path / "workshop").mkdir()
    (tmp_path / "workshop" / "01_convolution.html").touch()
    found = site.pages(tmp_path, calls.append)
    assert list(found) == ["numpy-torch.html", "torch-tf.html", "migrations.html", "workshop.html"]
    assert len(calls) == site.count()
    assert "frameworks change, principles persist" in found["migrations.html"][1].lower()
    assert "NCHW" in found["migrations.html"][1]
    assert "workshop/bugs/README.md" in found["workshop.html"][1]
    assert '<a href="workshop/01_convolution.html">page</a>' in found["workshop.html"][1]
    assert "slides.html" not in found["workshop.html"][1]  # which is not there
    table = found["workshop.html"][1].partition("<thead>")[2].partition("</thead>")[0]
    assert re.findall("<th>(.*?)</th>", table) == ["file", "title", "with outputs"]
    for _, text in found.values():
        page = Page(text)
        assert page.open == []
        ours = "#", "data:", "index.html", "workshop/01_convolution.html"
        assert all(address.startswith(ours) for address in page.loads)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("numpy --out nowhere/r.html", 1, "nowhere/r.html: cannot be written"),
        ("numpy --bench none.json", 1, "none.json: cannot be read"),
        ("numpy --web .", 1, "`make web` fetches it"),
        ("numpy --site file/site", 1, "file/site: cannot be made"),
        ("sonnet", 2, "unknown port"),
        ("numpy --digits 0", 2, "--digits"),
    ],
)
def test_bad_usage_is_refused_before_any_work(arguments, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(collect, "collect", lambda *arguments: pytest.fail("too late"))
    result = CliRunner().invoke(cli, ["report", *arguments.split()])
    assert result.exit_code == code
    assert said in result.stderr
    assert not list(tmp_path.glob("*.html"))
