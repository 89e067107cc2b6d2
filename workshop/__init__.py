"""The workshop: notebooks, their self-checks, and a gallery of ports with planted bugs."""
