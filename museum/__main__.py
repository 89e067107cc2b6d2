"""`python -m museum` prints the tables of docs/museum.md."""

from museum import caffe_training, museum_tables, recorded
from museum.museum_tables import COLUMNS, STEP_COLUMNS, markdown
from museum.replay import replay


def tables() -> list[str]:
    """The tables, as Markdown: all recordings, what was found in them, and Caffe's training steps."""
    replays = [replay(recorded.read(name)) for name in recorded.names()]
    steps = caffe_training.judge_steps(caffe_training.read_steps())
    return [
        markdown(COLUMNS, museum_tables.rows(replays)),
        markdown(("recording", "found"), museum_tables.found_rows(replays)),
        markdown(STEP_COLUMNS, museum_tables.step_rows(steps)),
    ]


if __name__ == "__main__":
    print("\n\n".join(tables()))
