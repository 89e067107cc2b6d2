"""The case study: its network, ports, bounds, judges, pages and commands."""
