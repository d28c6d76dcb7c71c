"""OpenTelemetry: what the services say of themselves; silent without a collector."""
