"""The Docker registry in front of the images that templates are made of: who may push, and where to.

Without a registry behind it, it keeps images itself; the image store of this package is that registry then.
"""
