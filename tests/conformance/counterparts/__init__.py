"""What people really point at a sandbox: browsers, curl, load, gRPC."""
