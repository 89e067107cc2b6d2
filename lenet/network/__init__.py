"""The facts of the network: layers, weights, digits, recipe. Imports no framework and prints nothing."""
