"""The node's loops: sampling the machine, ending sandboxes that nobody ends."""
