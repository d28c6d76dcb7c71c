"""What a sandbox sees as its file system: layers, devices, /proc and /sys. Runs between fork and pivot; imports nothing late."""
