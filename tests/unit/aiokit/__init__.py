"""Tests of `sandbank.aiokit` without root or network beyond loopback."""
