"""The repository itself: its folders, its imports, its packages and its README."""
