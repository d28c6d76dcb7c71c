"""Clients that know a domain, or any other combination of variables, over TLS."""
