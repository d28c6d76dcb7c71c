"""Messages of `proto/orchestrator.proto`."""

from sandbank.contracts._gen.orchestrator_pb2 import *  # noqa: F403
