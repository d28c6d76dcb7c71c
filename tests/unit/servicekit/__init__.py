"""Tests of `sandbank.servicekit` without root or network beyond loopback."""
