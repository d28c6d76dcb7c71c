"""Reading images from OCI registries: references, logins, manifests, layers, and a root directory made of them. Writes to no registry."""
