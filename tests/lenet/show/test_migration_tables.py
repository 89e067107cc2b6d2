"""The tables of `lenet migrations`, of two made-up ports of which one is not installed."""

from textwrap import dedent

import pytest

from lenet.network.architecture import FLOPS, PARAM_COUNT
from lenet.show.migrations import FILES, History, Layouts, Migration, migration_tables
from tests.lenet.show.printed import coloured, plain

LINES = dict(zip([*FILES, "beside"], [10, 20, 30, 40, 5], strict=True))
HISTORY = History("A", 2001, "by a", "`idea`", "SAME", "tape", "never", "arrays", "v ← g", "none", "zeros")
LAYOUTS = Layouts("NHWC", "HWIO", "(in, out)", "HWC")
RAN = Migration("a", HISTORY, LINES, ("a",), LAYOUTS, PARAM_COUNT, "0123456789abcdef" * 4)
NOT_RUN = Migration("b", HISTORY, LINES, ("b",))
OTHER_BITS = Migration("c", HISTORY, LINES, ("c",), LAYOUTS, PARAM_COUNT, "f" * 64)
FEWER = Migration("d", HISTORY, LINES, ("d",), LAYOUTS, PARAM_COUNT - 1, RAN.fingerprint)


def test_a_page_has_a_table_for_each_fact_with_a_row_for_each_port():
    assert migration_tables.markdown([RAN, NOT_RUN]) == dedent(
        f"""\
        # The migration, measured

        Written by `lenet migrations --markdown docs/migrations.md`. Layouts are measured by sending
        numbered arrays through each port's `weights.py`, lines are counted in the sources, logits are
        hashed. Other facts are in each port's `about.toml`, which tests check where possible.

        ![a timeline from 1998 to today](timeline.svg)

        ## What changed

        ### Frameworks

        | port | framework | since | by | main idea |
        | --- | --- | --- | --- | --- |
        | a | A | 2001 | by a | `idea` |
        | b | A | 2001 | by a | `idea` |

        ### Layout of the arrays

        | port | images | kernels | dense | flatten | padding |
        | --- | --- | --- | --- | --- | --- |
        | a | NHWC | HWIO | (in, out) | HWC | SAME |
        | b | not installed | not installed | not installed | not installed | SAME |

        ### Who computes gradients

        | port | gradients |
        | --- | --- |
        | a | tape |
        | b | tape |

        ### When the network exists as a graph

        | port | when |
        | --- | --- |
        | a | never |
        | b | never |

        ### How parameters are held and updated

        | port | parameters |
        | --- | --- |
        | a | arrays |
        | b | arrays |

        ### The framework's own SGD

        | port | momentum | weight decay |
        | --- | --- | --- |
        | a | v ← g | none |
        | b | v ← g | none |

        ### Default initialization

        | port | initialization |
        | --- | --- |
        | a | zeros |
        | b | zeros |

        ### Lines of code, without comments and docstrings

        | port | model.py | weights.py | train.py | port.py | beside | total |
        | --- | --- | --- | --- | --- | --- | --- |
        | a | 10 | 20 | 30 | 40 | 5 | 105 |
        | b | 10 | 20 | 30 | 40 | 5 | 105 |

        ## What did not

        ### With the same exact weights, on 100 digits

        | port | parameters | operations per digit | SHA-256 of 1,000 logits |
        | --- | --- | --- | --- |
        | a | {PARAM_COUNT:,} | {FLOPS:,} | 0123456789abcdef |
        | b | not installed |  |  |

        Frameworks change, principles persist: one network, the same bits.
        """
    )


def test_the_terminal_shows_the_same_tables_and_the_verdict_in_green():
    shown = migration_tables.render([RAN, NOT_RUN])
    lines = [" ".join(line.split()) for line in plain(shown, 100).splitlines()]
    assert lines[:7] == [
        *("What changed", "", "Frameworks", "port framework since by main idea"),
        *(lines[4], "a A 2001 by a idea", "b A 2001 by a idea"),
    ]
    assert set(lines[4]) == {"─"}
    assert lines[-9:] == [
        *("What did not", "", "With the same exact weights, on 100 digits"),
        *("port parameters operations per digit SHA-256 of 1,000 logits", lines[-5]),
        f"a {PARAM_COUNT:,} {FLOPS:,} 0123456789abcdef",
        *("b not installed", ""),
        "frameworks change, principles persist: one network, the same bits.",
    ]
    assert coloured(shown, 100) == [
        "bold underline: What changed",
        *["dim: not installed"] * 4,
        "bold underline: What did not",
        "dim: not installed",
        "green: frameworks change, principles persist: one network, the same bits.",
    ]


def test_numbers_stand_below_each_other_and_words_do_not():
    lines = plain(migration_tables.render([RAN, NOT_RUN]), 100).splitlines()
    counted = lines.index("Lines of code, without comments and docstrings")
    assert lines[counted + 3] == "a           10          20        30       40       5    105"
    assert "port  images         kernels        dense          flatten        padding" in lines


@pytest.mark.parametrize("wrong", [OTHER_BITS, FEWER])
def test_a_port_with_other_bits_or_parameters_is_not_the_same(wrong):
    found = [RAN, wrong, NOT_RUN]
    assert not migration_tables.same(found)
    assert coloured(migration_tables.render(found))[-1] == (
        "bold red: NOT the same: `lenet compare` shows where."
    )
    assert migration_tables.markdown(found).endswith("\nNot the same: `lenet compare` shows where.\n")
    assert migration_tables.same([RAN, NOT_RUN])
    assert migration_tables.same([NOT_RUN])
