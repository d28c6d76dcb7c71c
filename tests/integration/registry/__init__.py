"""Pulling from real and hostile registries, and unpacking real and hostile archives."""
