"""Image files to digits: what comes in, comes in as MNIST has it; what is no digit is refused."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from rich.console import Console

from lenet.network import digits as mnist
from lenet.network import pictures
from lenet.show import drawn_digit
from parity.errors import UserError
from tests.helpers import one_line
from tests.planted.ports import numpy_port


def seven(size=(200, 300), ink=0, paper=255, mode="L"):
    """A 7 by three strokes, off the middle."""
    image = Image.new(mode, size, paper)
    strokes = [(60, 40), (150, 40), (90, 220)]
    ImageDraw.Draw(image).line(strokes, fill=ink, width=16, joint="curve")
    return image


@pytest.fixture
def read(tmp_path):
    """Save a Pillow image under a name, and read it back as a digit."""

    def through_file(image, name="digit.png", **options):
        image.save(tmp_path / name, **options)
        return pictures.read(tmp_path / name)

    return through_file


@pytest.mark.slow
def test_test_digits_drawn_black_on_white_and_large_are_still_recognised(read, digits, params):
    port = numpy_port()
    port.load(params)
    raw = (digits.images[:100, 0] * 255).round().astype(np.uint8)
    large = (Image.fromarray(255 - pixels).resize((280, 280), Image.Resampling.BICUBIC) for pixels in raw)
    prepared = mnist.scale(np.stack([read(image).pixels for image in large]))
    assert (port.logits(prepared).argmax(axis=1) == digits.labels[:100]).all()


def test_digit_fits_20_by_20_and_its_centre_of_mass_is_the_middle(read):
    pixels = read(seven()).pixels
    assert pixels.shape == (28, 28)
    assert pixels.dtype == np.uint8
    assert pixels.max() == 255
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    assert np.ptp(rows) == 19
    assert np.ptp(columns) < 19
    axis = np.arange(28)
    # Moved by whole pixels, the centre of mass ends at most half a pixel away, more only at the border.
    assert abs((pixels.sum(axis=0) * axis).sum() / pixels.sum() - 14) <= 0.5
    assert rows[0] == 8 or rows[-1] == 27 or abs((pixels.sum(axis=1) * axis).sum() / pixels.sum() - 14) <= 0.5


def test_solid_bar_becomes_20_pixels_of_full_ink(read):
    image = Image.new("L", (100, 100), 255)
    image.paste(0, (45, 10, 55, 90))
    pixels = read(image).pixels
    assert (pixels > 0).any(axis=1).sum() == 20
    assert (pixels.max(axis=1)[(pixels > 0).any(axis=1)] > 200).all()


def test_margins_around_the_ink_do_not_matter(read):
    image = seven()
    wide = Image.new("L", (500, 400), 255)
    wide.paste(image, (210, 70))
    np.testing.assert_array_equal(read(wide).pixels, read(image).pixels)


def test_light_background_is_inverted_and_dark_is_not(read):
    dark_on_light, light_on_dark = read(seven()), read(seven(ink=255, paper=0))
    assert dark_on_light.inverted
    assert not light_on_dark.inverted
    np.testing.assert_array_equal(dark_on_light.pixels, light_on_dark.pixels)


@pytest.mark.parametrize("ink", [0, 60, 160])
def test_faint_ink_on_grey_paper_is_stretched_to_full_contrast(ink, read):
    pixels = read(seven(ink=ink, paper=210)).pixels
    assert np.abs(pixels.astype(int) - read(seven()).pixels).max() <= 2  # of 255: contrast in whole greys


def test_transparency_shows_white_paper(read):
    clear = seven(mode="RGBA", ink=(0, 0, 0, 255), paper=(0, 0, 0, 0))
    picture = read(clear)
    assert picture.inverted
    np.testing.assert_array_equal(picture.pixels, read(seven()).pixels)


def test_white_ink_on_transparent_paper_is_light_on_dark(read):
    picture = read(seven(mode="RGBA", ink=(255, 255, 255, 255), paper=(0, 0, 0, 0)))
    assert not picture.inverted
    np.testing.assert_array_equal(picture.pixels, read(seven()).pixels)


@pytest.mark.parametrize("darkest", [60, 120, 180])
def test_light_that_falls_from_one_side_is_no_ink(darkest, read):
    light = np.add.outer(np.linspace(0, 1, 300), np.linspace(0, 1, 200)) / 2
    photograph = np.asarray(seven()) / 255 * (darkest + (250 - darkest) * light)
    pixels = read(Image.fromarray(photograph.round().astype(np.uint8))).pixels
    right = read(seven()).pixels
    assert ((pixels > 0) <= (np.abs(right.astype(int)) > 0)).all()  # none where there is no stroke


def test_ink_that_touches_the_border_is_no_background(read):
    image = seven(ink=30, paper=220)
    image.paste(30, (0, 0, 60, 50))
    assert read(image).inverted
    assert (read(image).pixels > 0).mean() < 0.4


@pytest.mark.parametrize(
    ("beside", "below", "shapes"), [(1, 1, 1), (2, 1, 2), (4, 1, 4), (1, 3, 3), (2, 2, 2)]
)
def test_several_digits_are_counted_along_a_line(beside, below, shapes, read):
    page = Image.new("L", (200 * beside, 300 * below), 255)
    for column in range(beside):
        for row in range(below):
            page.paste(seven(), (200 * column, 300 * row))
    assert read(page).shapes == shapes


@pytest.mark.parametrize(("gap", "second", "parts"), [(1, 25, 1), (2, 25, 2), (2, 4, 1)])
def test_parts_have_a_wide_gap_between_them_and_much_of_the_ink(gap, second, parts):
    """Of 50 columns a gap must have more than 1: 0.02 of them."""
    ink = np.ones(50)
    ink[25 - gap : 25] = 0
    ink[25 + second :] = 0
    assert pictures._parts(ink) == parts


def test_a_part_has_its_share_of_the_ink_exactly():
    assert pictures._parts(np.array([17.0, 0, 0, 3.0])) == 2
    assert pictures._parts(np.array([18.0, 0, 0, 3.0])) == 1


def test_as_many_pixels_as_are_allowed_are_read(read, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 200 * 300)
    assert read(seven()).shapes == 1
    monkeypatch.setattr(pictures, "MAX_PIXELS", 200 * 300 - 1)
    with pytest.raises(UserError, match="more than 59,999 pixels"):
        read(seven())


def test_hardly_any_single_digit_has_several_shapes(read, digits):
    images = (digits.images[:500, 0] * 255).round().astype(np.uint8)
    assert sum(pictures._shapes(pictures._crop(image.astype(float))) > 1 for image in images) <= 2


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "1", "LA"])
def test_every_colour_mode_reads_alike(mode, read):
    name = "digit.jpg" if mode == "CMYK" else "digit.png"
    pixels = read(seven(mode="RGB", ink=(0, 0, 0), paper=(255, 255, 255)).convert(mode), name).pixels
    close = np.abs(pixels.astype(int) - read(seven()).pixels).max()
    assert close == 0 if mode != "CMYK" else close <= 16  # JPEG loses some


def test_sixteen_bits_of_grey_are_scaled_not_clipped(read):
    eight = np.asarray(seven(ink=100, paper=200))
    sixteen = Image.fromarray(eight.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read(sixteen).pixels, read(Image.fromarray(eight)).pixels)


def test_a_photograph_is_turned_as_its_exif_says(read):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter for display
    turned = seven().transpose(Image.Transpose.ROTATE_90)
    np.testing.assert_array_equal(read(turned, exif=exif).pixels, read(seven()).pixels)


def test_paper_grain_and_jpeg_noise_are_not_ink(read):
    grain = np.random.default_rng(0).normal(0, 4, (300, 200))
    noisy = Image.fromarray((np.asarray(seven(ink=30, paper=220)) + grain).clip(0, 255).astype(np.uint8))
    pixels = read(noisy, "digit.jpg", quality=70).pixels
    assert np.abs(pixels.astype(int) - read(seven()).pixels).mean() < 4


def png_header(width, height):
    """The beginning of a PNG that claims a size; no pixel follows."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + b"\0\0\1\0IDAT"
    )


def test_what_is_no_image_is_refused_in_one_line(tmp_path, read):
    good = tmp_path / "good.png"
    seven().save(good)
    seven().convert("RGB").save(tmp_path / "good.jpg")
    cases = {
        "missing": (None, "no such image"),
        "text": (b"seven", "not an image"),
        "empty": (b"", "not an image"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        "cut png": (good.read_bytes()[:200], "cannot be read as an image"),
        "cut jpg": ((tmp_path / "good.jpg").read_bytes()[:700], "cannot be read as an image"),
        "damaged png": (good.read_bytes()[:60] + b"7" * 40 + good.read_bytes()[100:], "cannot be read"),
        "no pixels": (good.read_bytes().replace(b"IDAT", b"IDAX"), "not an image"),
        "broken chunk": (png_header(9, 9)[:-8] + b"\0\0\0\1IDATx----\0\0\0\0\1\2\3\4", "cannot be read"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
        "51 million pixels": (png_header(7_000, 7_300), "more than 50,000,000 pixels"),
        "a bomb": (png_header(100_000, 100_000), "more than 50,000,000 pixels"),
    }
    for name, (content, said) in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as refusal:
            pictures.read(path)
        assert said in one_line(refusal), name
        assert name in one_line(refusal)
    with pytest.raises(UserError, match="Is a directory"):
        pictures.read(tmp_path)


@pytest.mark.parametrize("kind", pictures.FORMATS)
@given(damage=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_read_or_refused_in_one_line(kind, damage, tmp_path):
    seven().save(tmp_path / "digit", kind)
    content = bytearray((tmp_path / "digit").read_bytes())
    for place, byte in damage:
        content[place % len(content)] = byte
    (tmp_path / "digit").write_bytes(content)
    refusal = "none"
    try:
        assert pictures.read(tmp_path / "digit").pixels.shape == (28, 28)
    except UserError as error:
        refusal = str(error)
    assert len(refusal.splitlines()) == 1


@pytest.mark.parametrize(
    "blank",
    [
        Image.new("L", (50, 50), 255),
        Image.new("L", (50, 50), 0),
        Image.new("RGBA", (50, 50), (0, 0, 0, 0)),
        seven(ink=235, paper=255),
        Image.new("L", (1, 1), 0),
    ],
    ids=["white", "black", "transparent", "nearly invisible", "one pixel"],
)
def test_blank_image_is_refused(blank, read):
    with pytest.raises(UserError, match="blank"):
        read(blank)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="is no ordinary file"):
        pictures.read(tmp_path / "pipe.png")


def lines(image, **options):
    console = Console(width=80, **options)
    return [line.plain for line in drawn_digit.draw(image, console).split()], console


def test_picture_without_colour_is_ascii_of_two_pixels_a_character(digits):
    drawn, _ = lines(digits.images[0], color_system=None)
    assert [len(line) for line in drawn] == [28] * 14
    assert set("".join(drawn)) <= set(drawn_digit.SHADES)
    pairs = digits.images[0, 0].reshape(14, 2, 28).sum(axis=1)
    darkness = np.array([[drawn_digit.SHADES.index(c) for c in line] for line in drawn])
    assert darkness.max() > 6
    assert (
        np.diff(darkness.flat[np.argsort(pairs, axis=None)]) >= 0
    ).all()  # more ink, never a lighter shade
    assert ((pairs == 0) <= (darkness == 0)).all()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {}], ids=["NO_COLOR", "colour"])
def test_picture_in_colour_is_half_blocks_in_the_digits_own_greys(environment, digits):
    console = Console(
        force_terminal=True, color_system="truecolor", _environ=environment, legacy_windows=False
    )
    text = drawn_digit.draw(digits.images[0], console)
    if environment:
        assert "▀" not in text.plain
        return
    assert text.plain == "\n".join(["▀" * 28] * 14)
    levels = (digits.images[0, 0] * 255).round().astype(int)
    for row, line in enumerate(text.split()):
        for column, span in enumerate(line.spans):
            upper, lower = levels[2 * row : 2 * row + 2, column]
            assert str(span.style) == f"rgb({upper},{upper},{upper}) on rgb({lower},{lower},{lower})"
