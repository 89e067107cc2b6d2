"""The subcommands of `lenet`, one module each. Heavy modules are imported where they are used."""
