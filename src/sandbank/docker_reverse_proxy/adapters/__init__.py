"""Databases, registries and files."""
