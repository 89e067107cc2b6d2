"""The `parity` command, and what it shows."""
