"""The proxies' rules, without sockets."""
