"""Processes of the sandbox: spawning, output with back-pressure, input, signals, how they ended; and their RPC service."""
