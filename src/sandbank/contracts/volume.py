"""Messages of `proto/volume.proto`."""

from sandbank.contracts._gen.volume_pb2 import *  # noqa: F403
