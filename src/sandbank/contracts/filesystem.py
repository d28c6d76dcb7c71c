"""Messages of `proto/filesystem.proto`."""

from sandbank.contracts._gen.filesystem_pb2 import *  # noqa: F403
