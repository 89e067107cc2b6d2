"""From the loops of the definition to the fast path: steps that are run, checked and timed."""
