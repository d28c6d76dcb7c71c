"""The node's gRPC services: wire messages in, decisions of the core out."""
