"""Memory and files of a sandbox as they were at one moment, on disk."""
