"""What the core's ports are made of here: SQL, the nodes' gRPC, the routing catalog."""
