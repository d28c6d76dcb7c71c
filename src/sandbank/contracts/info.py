"""Messages of `proto/info.proto`."""

from sandbank.contracts._gen.info_pb2 import *  # noqa: F403
