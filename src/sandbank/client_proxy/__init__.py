"""Sandbox traffic by host name or headers, to the node that owns the sandbox."""
