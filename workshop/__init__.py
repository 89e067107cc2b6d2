"""The workshop: ports to break and to mend."""
