"""The client proxy's rules, without sockets."""
