"""What is said of layers, ports and a comparison: of two parts together, and as JSON."""

from typing import Any

import numpy as np
import pytest

from lenet.compare.layer_by_layer import Comparison, LayerReport, PortReport, _report
from lenet.reference.distance import ratio
from parity.arithmetic import Bounded


def a_layer(ratio: float, digit: int, **changed) -> LayerReport:
    values = {
        "max_abs_error": 1.0,
        "local_ratio": ratio,
        "end_to_end_ratio": 3.0,
        "values": 8,
        "equal_values": 2,
    }
    return LayerReport(**values | changed, worst=(digit, (0,), 1.0, 2.0))


def a_port(**changed: Any) -> PortReport:
    values: dict[str, Any] = {"digits": 10, "correct": 8, "same_predictions": 9}
    values["layers"] = {"fc1": a_layer(2.0, 3)}
    values |= changed
    return PortReport("p", "1.0", "float32", **values)


def test_of_equally_bad_values_the_first_is_the_worst():
    report = a_layer(2.0, 3)
    report.merge(a_layer(2.0, 7))
    assert report.worst == (3, (0,), 1.0, 2.0)


@pytest.mark.parametrize("later", [False, True])
def test_a_layer_is_as_bad_as_in_the_worst_of_its_parts_and_counts_all(later):
    worst = {"max_abs_error": 4.0, "end_to_end_ratio": 6.0, "formula": "rounds more"}
    parts = [a_layer(2.0, 3), a_layer(5.0, 7, **worst)]
    one, other = parts if later else parts[::-1]
    one.merge(other)
    assert one == a_layer(5.0, 7, **worst, values=16, equal_values=4)


def test_a_port_counts_what_was_seen_of_all_digits():
    report = a_port(problem=None)
    report.merge(a_port(digits=5, correct=4, same_predictions=3, problem="raises an error"))
    assert (report.digits, report.correct, report.same_predictions) == (15, 12, 12)
    assert report.problem == "raises an error"
    assert report.layers["fc1"].values == 16
    report.merge(a_port(problem="another"))
    assert report.problem == "raises an error"


def test_a_comparison_counts_what_was_seen_of_all_digits():
    result, first = Comparison(10, 7, [a_port()]), a_port()
    result.merge(Comparison(5, 4, [a_port(digits=5)]))
    assert (result.digits, result.certified, result.ports[0].digits) == (15, 11, 15)
    with pytest.raises(ValueError, match="zip"):
        result.merge(Comparison(5, 4, [first, first]))


def test_json_holds_the_whole_comparison():
    report = a_port(bits_equal=90)
    assert Comparison(10, 7, [report]).to_json() == {
        "digits": 10,
        "certified": 7,
        "logits": 100,
        "ports": [
            {
                **{"name": "p", "version": "1.0", "dtype": "float32", "accuracy": 0.8},
                **{"same_predictions": 9, "bits_equal": 90, "verdict": "different"},
                **{"first_different": "fc1", "problem": None},
                "layers": {
                    "fc1": {
                        **{"max_abs_error": 1.0, "local_ratio": 2.0},
                        **{"end_to_end_ratio": 3.0, "bit_equal": 0.25},
                    }
                },
            }
        ],
    }


def test_a_value_beyond_its_bound_is_the_worst_and_a_nan_is_infinitely_far():
    """Given its own input the layer is right; given the image its last value is off by 3 of 2."""
    y, right = np.array([[1, 2, 3], [4, 5, 9]], np.float32), np.arange(1.0, 7).reshape(2, 3)
    whole, own = Bounded(right, np.full((2, 3), 2.0)), Bounded(right, np.full((2, 3), 6.0))
    report = _report(y, right.astype(np.float32), own, whole, 40)
    assert (report.max_abs_error, report.local_ratio, report.end_to_end_ratio) == (3, 0.5, 1.5)
    assert (report.values, report.equal_values) == (6, 5)
    assert report.worst == (41, (2,), 9, 6)
    y[0, 1] = np.nan
    report = _report(y, right.astype(np.float32), own, whole, 0)
    assert (report.local_ratio, report.end_to_end_ratio) == (np.inf, np.inf)
    assert report.worst is not None
    assert report.worst[:2] == (0, (1,))


def test_where_nothing_may_round_and_nothing_does_there_is_no_error():
    right, nothing = np.ones((2, 3)), np.zeros((2, 3))
    report = _report(right, right, Bounded(right, nothing), Bounded(right, nothing), 0)
    assert (report.local_ratio, report.end_to_end_ratio, report.different) == (0, 0, False)


def test_an_error_is_divided_by_its_bound_without_a_warning():
    expected = Bounded(np.array([1.0, 1, 1, 3]), np.array([0.0, 0, 1, 2]))
    with np.errstate(all="raise"):
        assert ratio(np.array([1, 2, np.nan, 4]), expected).tolist() == [0, np.inf, np.inf, 0.5]
