"""Messages of `proto/process.proto`."""

from sandbank.contracts._gen.process_pb2 import *  # noqa: F403
