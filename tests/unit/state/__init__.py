"""Tests of `sandbank.state` without root or network beyond loopback."""
