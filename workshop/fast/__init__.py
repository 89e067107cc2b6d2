"""The forward pass in steps from nested loops to the fast path, each run, checked and timed."""
