"""gRPC clients and servers between services."""
