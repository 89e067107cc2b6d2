"""The command through its entry point."""
