"""Loki: where sandbox logs go and come from when it is configured."""
