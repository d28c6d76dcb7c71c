"""System calls, mounts, namespaces, netlink: the only place with ctypes."""
