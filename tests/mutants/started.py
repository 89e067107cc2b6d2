"""What a process that a test starts does first, as its `sitecustomize`: it tells which functions it reaches.

Nothing else could: such a process may run in any folder, and mutmut's own notes stay in its memory.
"""

import os
from contextlib import suppress

if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    from mutmut.mutation import trampoline

    told: set[str] = set()

    def tell(name: str, caller: str | None = None) -> None:
        """Add the name of a function to the list for the test."""
        if name not in told:
            told.add(name)
            with suppress(OSError), open(os.environ["MUTANTS_TOLD"], "a") as file:
                file.write(f"{name}\n")

    trampoline.record_trampoline_hit = tell
