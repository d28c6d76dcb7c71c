"""Translation between the wire and the core."""
