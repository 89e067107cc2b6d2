"""Mutation testing: small changes to the code, one at a time, each of which some test must notice.

    python -m tests.mutants [GROUP...] [--only PATTERN]... [--sample N]

mutmut makes the changes and runs the tests, in a copy of the project under out/mutants/GROUP, where
`mutmut browse` shows the survivors. A second run does again only what has changed. Its verdict is one table.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
GROUPS = tomllib.loads((Path(__file__).parent / "groups.toml").read_text())
MUTMUT = [str(Path(sys.executable).with_name("mutmut"))]
# One thread, and the same examples of hypothesis for every mutant.
ENVIRONMENT = {**os.environ, "CI": "true", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
SHOWN = ("killed", "timeout", "survived", "no tests")


def copied(group: str) -> Path:
    """A copy of what git knows of the project, configured for this group."""
    copy = ROOT / "out" / "mutants" / group
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    top = {name.split("/")[0] for name in listed.stdout.split("\0") if "/" in name}
    sources = {path.split("/")[0] for path in GROUPS[group]["mutate"]} | {"parity", "lenet"}
    settings = {
        "source_paths": sorted(sources),
        "only_mutate": GROUPS[group]["mutate"],
        "also_copy": sorted(top - sources),
        "pytest_add_cli_args": ["-n0", "-q"],
        "pytest_add_cli_args_test_selection": GROUPS[group]["tests"],
        "use_git_change_detection": False,
    }
    with (copy / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n")
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    return copy


def verdicts(copy: Path) -> dict[str, str]:
    """{mutant: verdict}."""
    ask = [*MUTMUT, "results", "--all", "true"]
    found = subprocess.run(ask, cwd=copy, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True)
    lines = (line.strip().partition(": ") for line in found.stdout.splitlines())
    return {name: verdict for name, _, verdict in lines if verdict}


def drawn(copy: Path, count: int) -> list[str]:
    """So many mutants, the same each time."""
    nobody = [*MUTMUT, "run", "--max-children", "1", "nobody"]  # makes all mutants, and tries none
    subprocess.run(nobody, cwd=copy, env=ENVIRONMENT, capture_output=True, check=False)
    names = sorted(verdicts(copy))
    return random.Random(0).sample(names, min(count, len(names)))


def table(found: dict[str, str]) -> Table:
    """How many of each file's mutants have which verdict, of those that were tried."""
    counts: dict[str, Counter[str]] = {}
    for name, verdict in found.items():
        counts.setdefault(name.split(".x", 1)[0].replace(".", "/") + ".py", Counter())[verdict] += 1
    shown = Table("file", *SHOWN)
    for file, count in counts.items():
        if any(count[verdict] for verdict in SHOWN):
            shown.add_row(file, *(str(count[verdict]) for verdict in SHOWN))
    return shown


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option("--only", multiple=True, metavar="PATTERN", help='mutants to try, "parity.arithmetic.floats*"')
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="try N mutants of each group, drawn at random"
)
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
def main(groups: tuple[str, ...], only: tuple[str, ...], sample: int | None, processes: int) -> None:
    """Change the code of each GROUP (default: all) and see which changes the tests miss."""
    for group in groups or tuple(GROUPS):
        copy = copied(group)
        some = drawn(copy, sample) if sample else only
        run = [*MUTMUT, "run", "--max-children", str(processes), *some]
        if subprocess.run(run, cwd=copy, env=ENVIRONMENT, check=False).returncode:
            sys.exit(f"{group}: nothing was tried, because its tests fail without any change")
        found = verdicts(copy)
        Console().print(table(found))
        for name, verdict in found.items():
            if verdict in ("survived", "no tests"):
                print(f"{name}: {verdict}")


if __name__ == "__main__":
    main()
