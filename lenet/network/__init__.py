"""The network as facts: its layers, weights, digits and recipe. No framework, nothing for the terminal."""
