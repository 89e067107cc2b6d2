"""Which share of a bound the worst roundings are asked to reach; why, where it is less than half."""

import re

# More than half of the bound: so a check is red if the bound is doubled.
SHARE = 0.5
# Pattern of "OPERATOR(attributes) output K FORM" → the share that is asked, and why no more is reached. Twice
# as much is reached nowhere, so that a doubled bound is red here, too.
FACTOR = "one factor is wrong for a whole row, in one direction; the worst case takes each value's worst"
STATED: dict[str, tuple[float, str]] = {
    r"Attention\((is_causal|left_window).* output 0": (0.38, FACTOR),
    r"Attention\(.* output 0": (0.23, FACTOR),
    r"LayerNormalization\(axis=[02]\) output 2 the variance is the mean": (0.28, FACTOR),
    r"LayerNormalization\(axis=0\) output 2 the variance is E": (0.25, FACTOR),
    r"MeanVarianceNormalization\(axes=\(0,1,2,3\)\) .* E\[x²\]": (
        0.27,
        "about a mean of 100 four digits of the variance cancel, and errors of its 240 terms in part",
    ),
    r"RNN\(activations=\('Relu'": (0.45, "what a step rounds is multiplied by weights of either sign"),
    r"Resize\(mode=cubic,antialias=1,exclude_outside": (0.24, FACTOR),
    r"Resize\(mode=(linear|cubic),antialias": (0.4, FACTOR),
}


def stated(bound: str) -> float:
    """The share that is asked of this bound."""
    return next((share for pattern, (share, _) in STATED.items() if re.match(pattern, bound)), SHARE)
