"""The proxies against real little servers on loopback."""
