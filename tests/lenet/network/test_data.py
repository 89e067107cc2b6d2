"""The digits: what is shipped, how pixels are scaled, and every refusal."""

import gzip
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenet.network import digits as mnist
from lenet.network.digits import Digits, check_images, check_labels, read_idx, scale
from parity.errors import UserError
from tests.helpers import one_line
from tests.lenet.network.idx_files import idx

IMAGES = "t10k-images-idx3-ubyte.gz"


SMALL = idx(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4))


@pytest.fixture
def idx_file(tmp_path) -> Path:
    """A whole small IDX file, of a name that has no checksum."""
    path = tmp_path / "small.gz"
    path.write_bytes(gzip.compress(SMALL))
    return path


# --- what is shipped ---------------------------------------------------------------------------


def test_the_shipped_digits_are_the_mnist_test_set(digits):
    assert digits.images.shape == (10_000, 1, 28, 28)
    assert digits.images.dtype == np.float32
    assert digits.labels.shape == (10_000,)
    assert digits.labels.dtype == np.int64
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as MNIST is described
    assert np.bincount(digits.labels).tolist() == counts
    check_images(digits.images)
    check_labels(digits.labels, len(digits))


def test_digits_are_sliced_together(digits):
    chosen = digits[np.array([3, 1])]
    assert len(chosen) == 2
    assert (chosen.images == np.stack([digits.images[3], digits.images[1]])).all()
    assert chosen.labels.tolist() == [digits.labels[3], digits.labels[1]]


def test_the_training_set_is_looked_for_in_the_argument_then_the_variable_then_the_cache(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LENET_DATA", raising=False)
    assert mnist.training_folder().name == "lenet"
    monkeypatch.setenv("LENET_DATA", str(tmp_path / "variable"))
    assert mnist.training_folder() == tmp_path / "variable"
    assert mnist.training_folder(tmp_path / "argument") == tmp_path / "argument"


# --- scale -------------------------------------------------------------------------------------


def test_every_pixel_value_is_scaled_to_the_float32_nearest_to_k_255ths():
    """Nearer than both neighbours, in exact fractions; k/255 is never halfway between two floats."""
    values = scale(np.arange(256, dtype=np.uint8).reshape(16, 16)).ravel()
    for k, value in enumerate(values):
        below, above = (np.nextafter(value, np.float32(end)) for end in (-1, 2))
        error, *others = (abs(Fraction(float(v)) - Fraction(k, 255)) for v in (value, below, above))
        assert error < min(others), k


def test_scale_adds_the_channel_axis_and_gives_float32():
    images = scale(np.zeros((5, 28, 28), np.uint8))
    assert images.shape == (5, 1, 28, 28)
    assert images.dtype == np.float32


# --- IDX files ---------------------------------------------------------------------------------


def test_read_idx_reads_what_the_format_says(idx_file):
    array = read_idx(idx_file)
    assert array.dtype == np.uint8
    assert array.tolist() == np.arange(24).reshape(2, 3, 4).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(gzip.compress(b""), r"not an IDX file of unsigned bytes \(magic \)", id="nothing"),
        pytest.param(gzip.compress(b"\x00\x00\x08"), "not an IDX file .*magic 000008", id="half a magic"),
        pytest.param(gzip.compress(SMALL[:4]), r"truncated or padded \(4 bytes", id="the magic alone"),
        pytest.param(gzip.compress(b"\x89PNG" + SMALL), "not an IDX file .*magic 89504e47", id="a PNG"),
        pytest.param(
            gzip.compress(idx(np.ones((2, 2), np.uint8), code=13)), "magic 00000d02", id="of floats"
        ),
        pytest.param(
            gzip.compress(SMALL[:7]), r"truncated or padded \(7 bytes for shape \(\)\)", id="half a header"
        ),
        pytest.param(
            gzip.compress(SMALL[:-1]), r"truncated or padded \(39 bytes for shape \(2, 3, 4\)\)", id="short"
        ),
        pytest.param(gzip.compress(SMALL + b"\0"), r"truncated or padded \(41 bytes", id="padded"),
        pytest.param(
            gzip.compress(b"\x00\x00\x08\x02" + SMALL[4:]), r"for shape \(2, 3\)", id="an axis less"
        ),
        pytest.param(
            gzip.compress(b"\x00\x00\x08\x04" + SMALL[4:]), r"for shape \(2, 3, 4, \d+\)", id="an axis more"
        ),
        pytest.param(
            gzip.compress(b"\x00\x00\x08\xff" + bytes([0, 0, 0, 1]) * 255 + b"\0"),
            "255 axes",
            id="too many axes",
        ),
        pytest.param(SMALL, "not a whole gzip file .*`lenet data` fetches it anew", id="not compressed"),
        pytest.param(gzip.compress(SMALL)[:-3], "not a whole gzip file", id="truncated gzip"),
        pytest.param(gzip.compress(SMALL)[:20], "not a whole gzip file", id="half a gzip"),
        pytest.param(gzip.compress(SMALL)[:-8] + bytes(8), "not a whole gzip file", id="wrong CRC"),
    ],
)
def test_a_damaged_idx_file_is_refused(idx_file, content, message):
    idx_file.write_bytes(content)
    with pytest.raises(UserError, match=message) as refusal:
        read_idx(idx_file)
    assert one_line(refusal).startswith(f"{idx_file}: ")


@given(st.data())
def test_no_damage_is_read_as_digits(tmp_path_factory, data):
    """One byte changed, or the file cut, anywhere: refused, or (in gzip's own header) without effect."""
    whole = gzip.compress(SMALL, mtime=0)
    path = tmp_path_factory.mktemp("idx") / "small.gz"
    place = data.draw(st.integers(0, len(whole) - 1), label="place")
    change = data.draw(st.integers(0, 255), label="change (0: cut)")
    path.write_bytes(whole[:place] + (bytes([whole[place] ^ change]) + whole[place + 1 :] if change else b""))
    with suppress(UserError):
        assert idx(read_idx(path)) == SMALL


def test_a_file_with_the_name_but_not_the_content_of_mnist_is_refused(tmp_path):
    images = np.zeros((10_000, 28, 28), np.uint8)
    (tmp_path / IMAGES).write_bytes(gzip.compress(idx(images), 1))
    with pytest.raises(UserError, match=r"content is not MNIST's \(SHA-256 differs\); `lenet data`"):
        read_idx(tmp_path / IMAGES)


def test_the_test_digits_are_given_in_arrays_of_their_own():
    """A caller may write into them, and PyTorch takes them without a warning."""
    first = mnist.test_set()
    first.images[:], first.labels[:] = 0, 0
    again = mnist.test_set()
    assert again.images.any()
    assert again.labels.any()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), "not there"),
        (lambda file: file.write_bytes(b"damaged"), "not a whole gzip file"),
        (lambda file: file.write_bytes(gzip.compress(SMALL)), "SHA-256 differs"),
    ],
    ids=["missing", "no gzip", "other content"],
)
def test_digits_of_the_package_are_installed_again_not_fetched(damage, said, tmp_path, monkeypatch):
    for file in mnist.BUNDLED.glob("*.gz"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(mnist, "BUNDLED", tmp_path)
    damage(tmp_path / IMAGES)
    with pytest.raises(UserError, match=f"{said}.*pip install --force-reinstall") as refusal:
        mnist.test_set()
    assert "lenet data" not in one_line(refusal)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"train-images-idx3-ubyte\.gz: not there; `lenet data` fetches it, --data"
    ):
        mnist.training_set(tmp_path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / IMAGES).mkdir()
    with pytest.raises(UserError, match=r"not a whole gzip file .*Is a directory"):
        read_idx(tmp_path / IMAGES)


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / IMAGES)
    with pytest.raises(UserError, match="is no ordinary file"):
        read_idx(tmp_path / IMAGES)


# --- batches -----------------------------------------------------------------------------------

IMAGE = np.zeros((2, 1, 28, 28), np.float32)


def changed(value: float) -> np.ndarray:
    images = IMAGE.copy()
    images[1, 0, 27, 27] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        pytest.param(IMAGE[:0], "the batch is empty: give at least one image", id="empty"),
        pytest.param(IMAGE[0], r"shape \(1, 28, 28\), expected \(N, 1, 28, 28\)", id="no batch axis"),
        pytest.param(IMAGE.reshape(2, 28, 28, 1), r"shape \(2, 28, 28, 1\), expected", id="channels last"),
        pytest.param(IMAGE.astype(np.uint8), "images are uint8, expected float32", id="uint8"),
        pytest.param(IMAGE.astype(np.float64), "images are float64, expected float32", id="float64"),
        pytest.param(IMAGE.astype(">f4"), "images are >f4, expected float32", id="foreign byte order"),
        pytest.param(
            changed(255),
            r"^images must lie in \[0, 1\] with no NaN: divide pixels by 255 \(.*\)$",
            id="0..255",
        ),
        pytest.param(changed(1 + 2.0**-23), r"must lie in \[0, 1\]", id="just above 1"),
        pytest.param(changed(-(2.0**-149)), r"must lie in \[0, 1\]", id="just below 0"),
        pytest.param(changed(np.nan), "no NaN", id="NaN"),
    ],
)
def test_images_that_are_no_batch_are_refused(images, message):
    with pytest.raises(UserError, match=message) as refusal:
        check_images(images)
    one_line(refusal)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([0, 10], r"labels must lie in 0..9, got 0..10", id="10"),
        pytest.param([-1, 9], r"labels must lie in 0..9, got -1..9", id="-1"),
        pytest.param([0.0, 1.0], "labels are float64, expected integers", id="float"),
        pytest.param([True, False], "labels are bool, expected integers", id="bool"),
        pytest.param([1], r"shape \(1,\), expected \(2,\): one for each image", id="too few"),
        pytest.param([[1], [2]], r"shape \(2, 1\), expected \(2,\)", id="a column"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(UserError, match=message) as refusal:
        check_labels(np.array(labels), 2)
    one_line(refusal)


def test_batches_of_one_and_both_ends_of_the_range_are_taken():
    check_images(changed(1)[1:])
    check_images(IMAGE.astype(np.float64), dtype="float64")
    check_labels(np.array([0, 9]), 2)
    assert len(Digits(IMAGE, np.array([0, 9]))) == 2
