"""Templates and snapshots on disk: layers and metadata, complete or absent."""
