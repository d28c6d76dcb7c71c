"""Turns recipes into builds. So far one recipe: the `base` template, bootstrapped from Debian packages on the node itself."""
