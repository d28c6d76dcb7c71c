"""Sandboxes made of Linux namespaces, forked from a zygote. Needs no KVM and no container engine."""
