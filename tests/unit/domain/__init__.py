"""Tests of `sandbank.domain` without root or network beyond loopback."""
