"""Tests of the artefact store."""
