"""Messages of `proto/criu_rpc.proto`."""

from sandbank.contracts._gen.criu_rpc_pb2 import *  # noqa: F403
