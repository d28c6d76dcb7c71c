"""Accounts through the API and the commands, on real databases and with a real identity provider on loopback."""
