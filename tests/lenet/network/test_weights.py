"""Shared weights: what is written is read, bit for bit; anything else is refused."""

import json
import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.recipe import Recipe, initial_params
from parity.errors import UserError
from tests.helpers import one_line

PARAMS = initial_params(0)


def with_changed(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    return PARAMS | {name: array}


def without(name: str) -> dict[str, np.ndarray]:
    return {other: array for other, array in PARAMS.items() if other != name}


def with_value(name: str, value: float) -> dict[str, np.ndarray]:
    array = PARAMS[name].copy()
    array.flat[-1] = value
    return with_changed(name, array)


WRONG = [
    pytest.param(without("fc2.bias"), r"no 'fc2\.bias'; expected exactly conv1\.weight, ", id="missing"),
    pytest.param(with_changed("fc3.bias", np.zeros(10, np.float32)), r"unknown 'fc3\.bias'", id="unknown"),
    pytest.param(
        with_changed("fc1.weight", PARAMS["fc1.weight"].T),
        r"fc1\.weight has shape \(400, 120\), expected \(120, 400\)",
        id="transposed",
    ),
    pytest.param(
        with_changed("fc2.weight", PARAMS["fc2.weight"].astype(np.float16)),
        r"fc2\.weight is float16, expected float32",
        id="half precision",
    ),
    pytest.param(
        with_changed("fc2.weight", PARAMS["fc2.weight"].astype(np.int32)),
        r"fc2\.weight is int32, expected float32",
        id="integers",
    ),
    pytest.param(with_value("conv2.weight", np.nan), r"conv2\.weight holds a NaN or an infinity", id="NaN"),
    pytest.param(with_value("logits.bias", -np.inf), r"logits\.bias holds a NaN or an inf", id="infinity"),
]


# --- what ships --------------------------------------------------------------------------------


def test_the_trained_weights_say_how_they_came_about():
    params, metadata = weights.read_with_metadata()
    assert {name: array.shape for name, array in params.items()} == PARAM_SHAPES
    assert metadata["port"] == "numpy"
    assert Recipe(**json.loads(metadata["recipe"])).epochs > 0
    assert metadata["training_digits"] == "60000"
    assert float(metadata["test_accuracy"]) >= 0.991


# --- round trip --------------------------------------------------------------------------------


def test_weights_come_back_bit_for_bit_with_their_metadata(tmp_path):
    params = {name: array.copy() for name, array in PARAMS.items()}
    params["fc1.bias"][:4] = [-0.0, 2.0**-149, -(2.0**-126), np.finfo(np.float32).max]
    metadata = {"recipe": "ε = 0.1", "seed": "7"}
    weights.write(tmp_path / "w", params, metadata)
    read, read_metadata = weights.read_with_metadata(tmp_path / "w")
    assert list(read) == list(PARAM_SHAPES)  # the order of the table, whatever the file's
    assert all(read[name].tobytes() == params[name].tobytes() for name in PARAM_SHAPES)
    assert read_metadata == metadata


def test_views_are_written_by_value(tmp_path):
    """A transposed view has its numbers in another order in memory than in the file."""
    transposed = np.asfortranarray(PARAMS["fc1.weight"])
    weights.write(tmp_path / "w", with_changed("fc1.weight", transposed), {})
    assert (weights.read(tmp_path / "w")["fc1.weight"] == PARAMS["fc1.weight"]).all()


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("params", "message"), WRONG)
def test_wrong_weights_are_not_read(params, message, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in params.items()}))
    with pytest.raises(UserError, match=message) as refusal:
        weights.read(path)
    assert one_line(refusal).startswith(f"{path}: ")


@pytest.mark.parametrize(("params", "message"), WRONG)
def test_wrong_weights_are_not_written(params, message, tmp_path):
    path = tmp_path / "w"
    path.write_text("old")
    with pytest.raises(UserError, match=message) as refusal:
        weights.write(path, params, {})
    one_line(refusal)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["w"]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such weights file; `lenet train numpy --out FILE`"):
        weights.read(tmp_path / "nowhere")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such weights file"):
        weights.read(tmp_path)


WHOLE = save(PARAMS, {"key": "value"})
HEADER = 8 + int.from_bytes(WHOLE[:8], "little")  # a length, then JSON: names, shapes, places


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(WHOLE[:5], id="half a length"),
        pytest.param(WHOLE[: HEADER // 2], id="half a header"),
        pytest.param(WHOLE[:HEADER], id="header alone"),
        pytest.param(WHOLE[:-1], id="a byte short"),
        pytest.param(WHOLE + b"\0", id="a byte long"),
        pytest.param(b"\xff" * 8 + WHOLE[8:], id="a header of 2^64 bytes"),
        pytest.param(WHOLE.replace(b'"F32"', b'"F99"'), id="an unknown dtype"),
        pytest.param(WHOLE.replace(b'"F32"', b'"U32"', 1), id="another dtype of that size"),
        pytest.param(WHOLE.replace(b"[120,400]", b"[120,401]"), id="shape and size at odds"),
        pytest.param(WHOLE[:8] + b"\xff" + WHOLE[9:], id="a header that is not UTF-8"),
        pytest.param(b"\x80\x04]q\x00.", id="a pickle"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        weights.read(path)
    assert one_line(refusal).startswith(f"{path}: ")


def test_bfloat16_is_refused_although_numpy_has_no_name_for_it(tmp_path):
    """safetensors reads the header and then fails to name the dtype: a TypeError, not its own error."""
    header = json.dumps({"conv1.weight": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError) as refusal:
        weights.read(path)
    assert one_line(refusal).startswith(f"{path}: ")


@given(place=st.integers(0, HEADER - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_gives_the_same_weights_or_a_refusal(place, bit, tmp_path_factory):
    """Most are refused; what is let through is a change in the metadata, or in the order of the names."""
    damaged = bytearray(WHOLE)
    damaged[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("weights") / "w"
    path.write_bytes(damaged)
    with suppress(UserError):
        read = weights.read(path)
        assert {name: array.shape for name, array in read.items()} == PARAM_SHAPES
        assert all((read[name] == PARAMS[name]).all() for name in PARAM_SHAPES)


def test_an_unwritable_place_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"missing/w: cannot be written \(No such file or directory\)"):
        weights.write(tmp_path / "missing" / "w", PARAMS, {})


def test_equal_content_is_equal_bytes(tmp_path):
    """safetensors by itself writes its header in a random order."""
    metadata = {str(k): f"ε{k}" for k in range(20)}
    for name, order in (("a", list(metadata)), ("b", list(metadata)[::-1])):
        weights.write(tmp_path / name, PARAMS, {key: metadata[key] for key in order})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    params, read = weights.read_with_metadata(tmp_path / "a")
    assert read == metadata
    assert all(np.array_equal(params[name], PARAMS[name]) for name in PARAMS)


@pytest.mark.parametrize("name", sorted(weights.SHA256))
def test_a_flipped_bit_in_the_weights_of_this_package_is_refused(name, tmp_path, monkeypatch):
    content = bytearray((weights.FOLDER / name).read_bytes())
    content[-100] ^= 1
    (tmp_path / name).write_bytes(content)
    assert weights.read(tmp_path / name)  # anybody's own weights
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(UserError, match="was changed; it is part of the package") as refusal:
        weights.read(tmp_path / name)
    one_line(refusal)


def test_the_header_of_a_file_holds_no_spaces_but_at_its_end():
    written = weights.serialized({"a": np.zeros(2, np.float32)}, {"by": "hand"})
    header = written[8 : 8 + int.from_bytes(written[:8], "little")]
    assert b" " not in header.rstrip()
