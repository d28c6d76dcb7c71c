"""What gRPC's library reads from the environment when it is loaded; every module here that loads it imports this one first.

Its handlers for forks help programs that go on using gRPC in a forked child. Nothing of ours does: children of this process run another
program at once, and the zygote never loads gRPC. Left on, they log a line for every child that is started during a call.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
