"""Looks at a port's answers before the catalogue is searched: what is random, constant or cut off."""
