"""Mutation testing: small changes to the code, one at a time, each of which some test must notice.

    python -m tests.mutants [GROUP...] [--only PATTERN]... [--sample N]

mutmut makes the changes, in a copy of the project under out/mutants/GROUP, where `mutmut browse` shows the
survivors; `trying.py` tries them, in a random order that stays the same. A run that was interrupted goes on
where it was, and what was not noticed is tried again. The verdict is one table.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
from mutmut.__main__ import collect_source_file_mutation_data, create_mutants
from mutmut.configuration import reset_config
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import change_cwd, copy_also_copy_files, copy_src_dir
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
GROUPS = tomllib.loads((Path(__file__).parent / "groups.toml").read_text())
# One thread, and the same examples of hypothesis for every change.
ENVIRONMENT = {**os.environ, "CI": "true", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
# What mutmut calls a verdict, and what it is called here.
NOTICED = {"killed": "noticed", "timeout": "hangs", "segfault": "ends"}
MISSED = {"survived": "survived", "suspicious": "survived so far", "no tests": "not reached"}
SHOWN = NOTICED | MISSED

Verdicts = dict[tuple[str, str], str | None]  # {(change, file): verdict}


def copied(group: str) -> Path:
    """A new copy of what git knows of the project, configured for this group. What was found before stays."""
    copy = ROOT / "out" / "mutants" / group
    for old in copy.rglob("*") if copy.exists() else ():
        if old.is_file() and old.suffix not in (".meta", ".json"):
            old.unlink()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    top = {name.split("/")[0] for name in listed.stdout.split("\0") if name}
    settings = {"only_mutate": GROUPS[group]["mutate"], "also_copy": sorted(top - {"lenet", "parity"})}
    added = "".join(f"\n{key} = {json.dumps(value)}" for key, value in settings.items())
    whole = (copy / "pyproject.toml").read_text()
    (copy / "pyproject.toml").write_text(whole.replace("[tool.mutmut]", f"[tool.mutmut]{added}"))
    return copy


def make_changes(copy: Path) -> None:
    """All changes of this copy, each in the function that it changes, beside the unchanged one."""
    reset_config()
    with change_cwd(copy), contextlib.redirect_stdout(None):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(os.cpu_count() or 1)


def verdicts(copy: Path, only: tuple[str, ...], sample: int | None) -> Verdicts:
    """Of each change, or of a sample, in the order to try them: as random as a checksum."""
    with change_cwd(copy):
        known, _ = collect_source_file_mutation_data(mutant_names=only)
    found: Verdicts = {
        (name, str(data.path)): None if code is None else status_by_exit_code[code]
        for data, name, code in known
    }
    order = sorted(found, key=lambda change: hashlib.sha256(change[0].encode()).digest())
    return {change: found[change] for change in order[:sample]}


def attempt(group: str, copy: Path, changes: list[tuple[str, str]], limit: float, children: int) -> None:
    """Try these changes, and keep what is found."""
    listed = copy / "changes.txt"
    listed.write_text("".join(f"{name} {path}\n" for name, path in changes))
    options = ["-n0", "-q", "-s", "-p", "tests.mutants.trying", "-p", "no:randomly"]
    options += ["-o", "tmp_path_retention_policy=none"]
    options += [f"--changes={listed}", f"--limit={limit}", f"--children={children}", *GROUPS[group]["tests"]]
    run = [sys.executable, "-m", "pytest", *options]
    inside = copy / "mutants"
    shutil.copy2(ROOT / "tests" / "mutants" / "started.py", inside / "sitecustomize.py")
    environment = {**ENVIRONMENT, "PYTHONPATH": str(inside)}  # for processes that tests start
    if subprocess.run(run, cwd=inside, env=environment, check=False).returncode:
        sys.exit(f"{group}: not all was tried")


def at_least(noticed: int, tried: int) -> float:
    """Wilson's lower bound of a share, of which this is a sample: the lower end of the interval of 95 %."""
    if not tried:
        return 0.0
    z, share = 1.96, noticed / tried
    spread = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    return (share + z * z / (2 * tried) - spread) / (1 + z * z / tried)


def table(group: str, found: Verdicts) -> Table:
    """How many changes of each file, of those that were tried, have which verdict."""
    counts: dict[str, Counter[str]] = {}
    for (_, file), verdict in found.items():
        if verdict in SHOWN:
            counts.setdefault(file, Counter())[verdict] += 1
    total = sum(counts.values(), Counter())
    noticed, tried = sum(total[verdict] for verdict in NOTICED), total.total()
    share = f"{noticed} of {tried} noticed, at least {at_least(noticed, tried):.1%}"
    shown = Table("file", *SHOWN.values(), title=f"{group}: {share}")
    for file, count in [*sorted(counts.items()), ("all", total)]:
        shown.add_row(file, *(str(count[verdict]) for verdict in SHOWN))
    return shown


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option("--only", multiple=True, metavar="PATTERN", help='changes to try, "parity.arithmetic.floats*"')
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="try N changes of each group, drawn at random"
)
@click.option("--limit", default=60.0, show_default=True, help="seconds for the tests of one change")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
def main(
    groups: tuple[str, ...], only: tuple[str, ...], sample: int | None, limit: float, processes: int
) -> None:
    """Change the code of each GROUP (default: all) and see which changes the tests miss."""
    for group in groups or tuple(GROUPS):
        copy = copied(group)
        make_changes(copy)
        before = verdicts(copy, only, sample)
        missed = [change for change, verdict in before.items() if verdict not in NOTICED]
        try:
            attempt(group, copy, missed, limit, processes)
        finally:
            found = verdicts(copy, only, sample)
            Console(width=120).print(table(group, found))
            for (name, _), verdict in found.items():
                if verdict in MISSED:
                    print(f"{name}: {MISSED[verdict]}")


if __name__ == "__main__":
    main()
