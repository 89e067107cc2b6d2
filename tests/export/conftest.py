"""The verdict of `lenet export --check`."""

import pytest

from export.check import check_model


@pytest.fixture
def judge(params, digits):
    """The verdict on a model, held against the trained weights on 10 digits."""
    return lambda model: check_model(model, params, digits.images[:10], "a file")
