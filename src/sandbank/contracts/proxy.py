"""Messages of `proto/proxy.proto`."""

from sandbank.contracts._gen.proxy_pb2 import *  # noqa: F403
