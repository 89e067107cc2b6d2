"""What one learns with: ports to break and to mend."""
