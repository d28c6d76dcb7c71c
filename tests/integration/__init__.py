"""Real things: gRPC between services, and as root namespaces, cgroups, mounts."""
