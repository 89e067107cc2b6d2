"""Damages files for the readers without end: python -m tests.fuzz [--seed N] [READER]...

Ends at Ctrl-C, or at the first fault: then the file is kept and its place is printed. If a reader kills the
process, its file is the one that is left in the folder.
"""

import argparse
import itertools
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz.readers import READERS, fault


def main() -> int:
    """Run until a fault is found; 1 if one was."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Damaged files for the readers."
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the first file")
    parser.add_argument("--count", type=int, help="files of each reader (default: without end)")
    told = parser.parse_args()
    if unknown := set(told.readers) - READERS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    readers = {name: READERS[name] for name in told.readers or READERS}
    right = {name: reader.right() for name, reader in readers.items()}
    folder = Path(tempfile.mkdtemp(prefix="lenet-fuzz-"))
    print(f"seed {told.seed}, files in {folder}", flush=True)
    done, end = 0, "\n" if sys.stdout.isatty() else ""
    try:
        for number in itertools.islice(itertools.count(told.seed), told.count):
            for name, reader in readers.items():
                file = folder / reader.file
                file.write_bytes(reader.damage(right[name], random.Random(number)))
                if problem := fault(reader, file):
                    print(f"{end}{name}, seed {number}: {problem}\n{file}")
                    return 1
                file.unlink()
                done += 1
            if number % 100 == 0 and sys.stdout.isatty():
                print(f"\r{done:,} files", end="", flush=True)
    except KeyboardInterrupt:
        pass
    folder.rmdir()
    print(f"{end}{done:,} files, no fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
