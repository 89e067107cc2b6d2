"""The pages, tables and figures that people look at."""
