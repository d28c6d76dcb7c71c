"""Tests of `sandbank.db` with real databases and real gRPC."""
