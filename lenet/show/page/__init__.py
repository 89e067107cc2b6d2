"""The report page: the network, its ports' code, values and verdicts, in one HTML file that needs nothing."""
