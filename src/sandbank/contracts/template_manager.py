"""Messages of `proto/template_manager.proto`."""

from sandbank.contracts._gen.template_manager_pb2 import *  # noqa: F403
