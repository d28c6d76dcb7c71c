"""Messages of `proto/secret.proto`."""

from sandbank.contracts._gen.secret_pb2 import *  # noqa: F403
