"""The tests, by tier: unit, integration, conformance and soak; each tier's charter is in its own docstring."""
