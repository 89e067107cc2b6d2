"""Mistakes that a training run alone shows: its numbers, its batches, another optimizer, what is handed out."""
