"""Copied into sandboxes: `python3 inside.py tcp ADDRESS PORT | http ADDRESS HOST | tls ADDRESS NAME | udp ADDRESS PORT`."""

import socket
import ssl
import sys

kind, address, what = sys.argv[1:]
ports = {"http": 80, "tls": 443}
try:
    if kind == "udp":
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.settimeout(0.5)
        datagrams.sendto(b"ping", (address, int(what)))
        print(datagrams.recv(100).decode())
    else:
        with socket.create_connection((address, ports.get(kind) or int(what)), timeout=3) as connection:
            if kind == "http":
                connection.sendall(f"GET / HTTP/1.1\r\nHost: {what}\r\n\r\n".encode())
            if kind == "tls":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection = context.wrap_socket(connection, server_hostname=what or None)
            print(connection.recv(1000).decode() or "closed")
except OSError as error:
    print("failed", error)
