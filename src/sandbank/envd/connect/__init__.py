"""The Connect protocol (unary, server and client streams; JSON and binary codec) over `transport`. Knows no service."""
