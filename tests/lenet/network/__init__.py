"""The network's table, its weights and its digits."""
