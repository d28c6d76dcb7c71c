"""Tests of `sandbank.orchestrator` without root or network beyond loopback."""
