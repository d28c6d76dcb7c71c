"""The orchestrator with its real driver; as root."""
