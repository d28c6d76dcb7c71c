"""The piping engine and its routing rules, used by the client proxy and the orchestrator."""
