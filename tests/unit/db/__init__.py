"""Tests of `sandbank.db` without root or network beyond loopback."""
