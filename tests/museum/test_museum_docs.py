"""docs/museum.md says what the recordings say."""

import re
from pathlib import Path

import pytest

from lenet.diagnose.mistakes.update_rule import Rule
from museum import caffe_training, museum_tables, record, recorded
from museum.__main__ import tables
from museum.replay import replay

ROOT = Path(__file__).parents[2]
CHAPTER = (ROOT / "docs" / "museum.md").read_text(encoding="utf-8")
PROSE = "\n".join(line for line in CHAPTER.splitlines() if not line.startswith("|"))


@pytest.fixture(scope="module")
def made() -> list[str]:
    return tables()


@pytest.mark.slow
@pytest.mark.parametrize("which", range(3))
def test_a_table_is_up_to_date(which, made):
    assert made[which] in CHAPTER, "python -m museum"


def test_the_code_is_in_the_scripts():
    blocks = re.findall(r"```python\n(.*?)```", CHAPTER, re.DOTALL)
    scripts = [path.read_text(encoding="utf-8") for path in record.ORIGINALS.glob("*.py")]
    assert len(blocks) >= 8
    for block in blocks:
        assert any(block in script for script in scripts), block


@pytest.mark.slow
def test_the_figures_of_the_prose_are_those_of_the_tables(made):
    told = set(re.findall(r"\d+\.\d%", PROSE))
    assert len(told) >= 3
    assert told <= set(re.findall(r"\d+\.\d%", made[0]))


def test_every_recording_is_named_in_the_prose_or_a_table_and_every_script_has_its_section():
    assert all(f"| {name} |" in CHAPTER for name in recorded.names())
    for framework in {recorded.read_origin(name).framework for name in recorded.names()}:
        assert framework in PROSE


def test_the_hash_and_the_equal_files_are_as_told():
    assert recorded.read_origin("caffe").sha256_exact[:16] in PROSE
    same = {recorded.read_origin(name).sha256 for name in ("chainer", "keras_theano_right", "theano_project")}
    assert len(same) == 1
    assert recorded.read_origin("caffe").sha256 not in same


@pytest.mark.slow
def test_the_share_of_another_momentum_is_as_told():
    rule = Rule(momentum="rate inside", mu=0.8999)
    steps = list(caffe_training.judge_steps(caffe_training.read_steps(), rule))
    assert f"{max(one.velocity for one in steps):.0f} times outside" in PROSE


def test_a_table_changes_with_a_verdict():
    one = replay(recorded.read("tf0"))
    before = museum_tables.rows([one])
    one.report.layers["fc1"].local_ratio = 2.0
    assert museum_tables.rows([one]) != before


@pytest.mark.parametrize(("inside", "told"), [(True, "0.5625"), (False, "0.6328125")])
def test_where_the_rate_is_shows_when_it_drops(inside, told):
    """Three steps of one weight: all numbers are exact."""
    w, v, momentum, gradient = 1.0, 0.0, 0.5, 0.25
    for rate in (0.5, 0.5, 0.125):
        v = momentum * v + (rate * gradient if inside else gradient)
        w -= v if inside else rate * v
    assert str(w) == told
    assert told in CHAPTER
