"""The reference: the network in float64 with its rounding bounds, and in integers, where nothing rounds."""
