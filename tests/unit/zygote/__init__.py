"""What the zygote does to itself."""
