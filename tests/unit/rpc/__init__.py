"""Tests of `sandbank.rpc` without root or network beyond loopback."""
