"""Every reader reads a damaged file, or refuses it in one line; never a traceback."""

import random
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import unavailable
from tests.fuzz.damage import WAYS
from tests.fuzz.readers import READERS, Reader, fault

EXAMPLES = 300  # of each reader


@pytest.fixture(params=READERS)
def reader(request, tmp_path) -> Reader:
    if request.param == "caffemodel" and find_spec("cv2") is None:
        unavailable("lenet_caffe needs cv2")
    return READERS[request.param]


def test_the_right_file_is_read(reader, right, tmp_path):
    file = tmp_path / reader.file
    file.write_bytes(right)
    reader.read(file)


@pytest.fixture
def right(reader) -> bytes:
    """The content of a file that the reader reads."""
    return reader.right()


@pytest.mark.slow
@given(seed=st.integers(0, 2**64 - 1))
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused_in_one_line(seed, reader, right, tmp_path):
    file = tmp_path / reader.file
    file.write_bytes(reader.damage(right, random.Random(seed)))
    assert fault(reader, file) is None


def test_most_files_are_damaged(reader, right):
    """The suite would find nothing if it damaged nothing."""
    found = {reader.damage(right, random.Random(seed)) for seed in range(50)}
    assert len(found - {right}) > 25


def test_each_way_of_damage_changes_something():
    content = bytes(range(256)) * 4
    for way in WAYS:
        assert any(way(content, random.Random(seed)) != content for seed in range(5)), way.__name__


@pytest.mark.parametrize(
    ("raised", "said"),
    [(ValueError("x"), "ValueError: x"), (None, None)],
)
def test_a_traceback_is_a_fault(raised, said, tmp_path):
    def read(file):
        if raised:
            raise raised

    assert fault(Reader("x", bytes, read), tmp_path) == said
