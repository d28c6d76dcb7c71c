"""Tests of the command line, without root and without services."""
