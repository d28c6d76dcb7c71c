"""What every service means by a sandbox, an error, an identifier. Pure Python: no I/O, no framework, no store."""
