"""How the node's decisions reach disk and how the machine is measured."""
