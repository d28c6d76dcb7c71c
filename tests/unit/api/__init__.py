"""Tests of `sandbank.api` without root or network beyond loopback."""
