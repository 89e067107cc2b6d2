"""How LeNet's catalogue speaks: as that of parity, and in formulas."""

import re

from lenet.diagnose.mistakes.base import Kind
from tests.parity.judging.causes.words import check_words

BEGINS = re.compile(r"[A-Z0-9−√λ-]|(dx|dw|db|dlogits|v|e|loss) (=|is)|conv|fc|logits|\d")
CODE = re.compile(r"\w*(\.\w+)+")


def check_kinds(*kinds: Kind) -> None:
    """Names, explanations and remedies are words and sentences, and say what they are about."""
    for one in kinds:
        assert one.name
        assert one.name == one.name.strip()
        check_words(*(CODE.sub("", text) for text in (one.name, one.explanation, one.remedy)))
        for text in (one.explanation, one.remedy):
            assert BEGINS.match(text), (one.name, text)
            assert text.endswith((".", "…")), (one.name, text)
            assert "  " not in text, (one.name, text)
            assert text != text.upper(), (one.name, text)
