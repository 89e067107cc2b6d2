"""The mistake of a port: named, at its place, and never a wrong one."""
