"""Where recipes become files: mmdebstrap, chroots, the node's own package settings."""
