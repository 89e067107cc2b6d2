"""The recorded originals."""
