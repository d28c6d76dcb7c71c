"""What sandboxes reach, under both SDKs, on a small internet."""
