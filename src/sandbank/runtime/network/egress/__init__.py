"""The transparent egress proxy: a sandbox's TCP that is judged by name, or goes through somebody's SOCKS5 proxy."""
