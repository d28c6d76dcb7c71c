"""Finding nodes: lists of `host:port` where orchestrators should be, from the operator, DNS, Kubernetes or Nomad.

Who a node is and how it is doing it says itself when asked; nothing here asks.
"""
