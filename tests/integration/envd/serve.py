"""Runs the agent on a loopback port without any sandbox: `python -m tests.integration.envd.serve <options as JSON>`.

Prints the port when ready. With `audit`, records what is imported and opened after the preload and prints that after SIGTERM.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from typing import Any

from sandbank.envd import agent
from sandbank.runtime.linux import seccomp


def mapped_files() -> set[str]:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return {line.split(None, 5)[5].strip() for line in maps if line.count("/")}


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    agent.preload()
    gc.freeze()
    seccomp.install()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    config = agent.AgentConfig(
        sandbox_id="itestsandbox",
        template_id="base",
        access_token=options.get("access_token"),
        env_vars={"FOO": "bar"},
        default_user=options.get("default_user", "root"),
        default_workdir=None,
        memory_limit_bytes=512 * 1024 * 1024,
        cpu_count=2,
        disk_limit_bytes=1024**3,
    )
    seen: list[list[str]] = []
    agent_pid = os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("import", "open") and os.getpid() == agent_pid and not isinstance(arguments[0], int):
            seen.append([event, os.fsdecode(arguments[0])])

    before = mapped_files()
    if options.get("audit"):
        sys.addaudithook(hook)
    agent.run(listener, config, None, lambda: print(listener.getsockname()[1], flush=True))
    recorded = list(seen)
    print(json.dumps({"seen": recorded, "mapped": sorted(mapped_files() - before)}), flush=True)


if __name__ == "__main__":
    main()
