"""What tests of the diagnosis share."""

import pytest


@pytest.fixture
def no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pair of mistakes is searched in the forward pass: what a mistake is called is not asked."""
    monkeypatch.setattr("lenet.diagnose.search.two_mistakes.PAIR_SECONDS", 0.0)
