"""Sandbank: isolated Linux sandboxes for AI agents, on machines you own, under E2B's protocols."""
