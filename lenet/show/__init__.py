"""Shows results: tables, plots, pages and notebooks."""
