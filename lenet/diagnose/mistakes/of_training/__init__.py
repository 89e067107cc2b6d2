"""Mistakes that a training run shows: its numbers, its batches, another optimizer, what is handed out."""
