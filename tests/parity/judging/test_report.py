"""A report as text and as JSON."""

from dataclasses import asdict

import numpy as np

from parity.judging.verdict import BINS, Cause, Report, TensorReport, Worst


def test_json_holds_the_whole_report() -> None:
    """What JSON does not have, NaN and infinity, is null; bins without values are left out."""
    cause = Cause("y", "n", "name", "explanation", "remedy", "owner/repository#1", "apart")
    counts = [0] * len(BINS)
    counts[0], counts[-1] = 3, 2
    wrong = TensorReport(
        tensor="y",
        node="n",
        op="MatMul",
        sources=("x",),
        verdict="different",
        ratio=2.0,
        loop_ratio=3.0,
        loop_limit=4.0,
        values=5,
        equal=6,
        max_abs_error=7.0,
        worst=Worst((0, 1), 0.5, np.nan),
        histogram=tuple(counts),
        blind_below=8.0,
        strange=9,
        note="note",
        causes=(cause,),
        clues=("clue",),
    )
    fields = {
        **{"tensor": "y", "node": "n", "op": "MatMul", "from": ["x"], "verdict": "different", "ratio": 2.0},
        **{"loop_ratio": 3.0, "loop_limit": 4.0, "values": 5, "equal": 6, "max_abs_error": 7.0},
        "worst": {"index": [0, 1], "found": 0.5, "expected": None},
        **{
            "histogram": {"0": 3, "2^40": 2},
            "blind_below": 8.0,
            "strange": 9,
            "proven": True,
            "note": "note",
        },
        **{"causes": [asdict(cause)], "clues": ["clue"]},
    }
    assert wrong.to_json() == fields
    blank = TensorReport("z", "m", "Odd", ratio=np.inf).to_json()
    assert (blank["ratio"], blank["loop_ratio"], blank["worst"], blank["histogram"]) == (None, None, None, {})
    report = Report((TensorReport("x", "o", "Odd"), wrong), {"Odd": 1}, ("y",), 100)
    assert report.to_json() == {
        **{"verdict": "different", "first": "y", "judged": 1, "unjudged": {"Odd": 1}, "sample": 100},
        **{"tensors": [one.to_json() for one in report.tensors], "causes": [asdict(cause)]},
    }
    assert Report(()).to_json()["first"] is None


def test_the_worst_value_is_told_in_one_line() -> None:
    assert str(Worst((1, 20), 0.1, -2.0)) == "At [1, 20] it is 0.1, expected -2."
