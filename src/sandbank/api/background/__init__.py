"""Loops and timers, and the service that owns them. Decisions are the core's."""
