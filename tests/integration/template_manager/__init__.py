"""The base template, really built."""
