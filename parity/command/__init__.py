"""The `parity` command and its output."""
