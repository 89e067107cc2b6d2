"""The notebooks, the gallery of bugs and the chapter on speed."""
