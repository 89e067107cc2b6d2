"""`lenet museum`."""

from pathlib import Path

import click

from lenet.commands import options


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@options.JSON
def museum(name: str | None, json_file: Path | None) -> None:
    """What did the original Caffe, Theano and others compute?

    Their outputs with this project's weights were recorded. Judges each recording as `lenet compare` judges
    a port, and needs none of the frameworks. NAME shows one in detail, with its origin. To record again:
    `python -m museum.record`.

    A recording that is different is no failure: it shows what people used. The exit code is 1 if a
    recording was changed.
    """
    from museum import caffe_training, museum_tables, recorded, replay
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable

    to_stdout = json_file == options.STDOUT
    check_writable(None if to_stdout else json_file)
    names = recorded.names() if name is None else [name]
    with progress_bar() as progress:
        task = progress.add_task("", total=len(names))
        found = []
        for one in names:
            progress.update(task, description=f"judging {one}")
            found.append(replay.replay(recorded.read(one)))
            progress.advance(task)
        if name is not None:
            result, shown = found[0].to_json(), museum_tables.detail(found[0])
        else:
            progress.update(task, description="judging Caffe's training steps")
            caffe_training.trained()  # it is not judged here, but must not have changed
            read = caffe_training.read_steps()
            steps, rule = list(caffe_training.judge_steps(read)), caffe_training.named_rule(read)
            result = {
                "recordings": {one.recording.name: one.to_json() for one in found},
                "caffe_steps": [vars(step) for step in steps],
                "caffe_steps_by_the_recipe": rule.to_json(),
            }
            shown = museum_tables.overview(found, steps, rule)
    options.write_json(result, json_file)
    if not to_stdout:
        output().print(shown)
