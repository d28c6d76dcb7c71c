"""Tests of `sandbank.api` with real databases and real gRPC."""
