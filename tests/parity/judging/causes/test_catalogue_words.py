"""The words of the catalogue: sentences with names spelled as their owners do, without shouting."""

import pytest

from parity.judging.causes import mistakes
from tests.parity.examples import EXAMPLES
from tests.parity.judging.causes.uses import KINDS, seen
from tests.parity.judging.causes.words import check_sentences, check_words
from tests.parity.operators.one_node import drawn


def of(kind: str) -> dict[str, tuple[str, str]]:
    """The explanation and the remedy of each mistake in each example of an operator."""
    found = {}
    for example in (one for one in EXAMPLES if kind == one.operator.TYPE):
        arrays = drawn(example, 3)
        for one in mistakes(example.operator, seen(example, arrays)):
            found[one.name] = one.explanation, one.remedy
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_mistake_is_explained_in_sentences(kind: str) -> None:
    for name, texts in of(kind).items():
        check_sentences(name, *texts)


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_shouted_and_names_are_spelled_right(kind: str) -> None:
    for name, texts in of(kind).items():
        check_words(name, *texts)
