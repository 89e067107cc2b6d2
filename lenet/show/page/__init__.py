"""The report page: the network, its ports' code, values and verdicts, in one self-contained HTML file."""
