"""HTTP/1.1 as envd needs it: streaming both ways, flow control both ways, early answers and hard cuts. Knows no endpoint."""
