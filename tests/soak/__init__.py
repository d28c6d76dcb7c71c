"""What must hold in the long run and when parts die: faults injected into a running installation, and many cycles of create and kill."""
