"""Opening a model in a runtime: what the environment says of threads."""

import pytest

from parity import UserError
from parity.record.sessions import open_model
from tests.parity.small import convolutions, normal


@pytest.mark.parametrize("told", ["x", "-1", "99999999999", "2;4", "²"])
def test_threads_that_are_no_number_are_refused_in_one_line(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    with pytest.raises(UserError) as refusal:
        open_model("onnxruntime", convolutions())
    assert str(refusal.value) == f"OMP_NUM_THREADS={told!r}: expected a number of threads"


@pytest.mark.parametrize("told", ["", "1", "1,2", " 1 "])
def test_the_first_number_of_threads_counts(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert open_model("onnxruntime", convolutions())({"x": normal(2, 3, 9, 9)})
