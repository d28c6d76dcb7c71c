"""Tests of recipes, mirrors and certificates."""
