"""The node's side of sandbox networking: slots, links, firewall, names."""
