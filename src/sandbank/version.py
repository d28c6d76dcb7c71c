"""The one place that says which release this is."""

VERSION = "0.1.0"

# What clients gate their features on (data-plane contract §4.10): the newest agent whose behaviour ours has.
ENVD_VERSION = "0.6.13"
