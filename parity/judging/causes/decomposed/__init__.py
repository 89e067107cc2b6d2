"""Mistakes in graphs in which a layer stands as several nodes of arithmetic."""
