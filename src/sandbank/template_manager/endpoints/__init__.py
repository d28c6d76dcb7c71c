"""The build service on the wire."""
