"""One per node: runs sandboxes, and pipes traffic to them."""
