"""What a person sees: tables, plots, pages and notebooks."""
