"""The agent inside a sandbox: processes, files, watches, metrics. Imports nothing of the services."""
