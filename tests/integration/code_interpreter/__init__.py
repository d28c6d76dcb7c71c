"""The code interpreter's server, run directly on the test machine: what its users do all day, without a sandbox around it."""
