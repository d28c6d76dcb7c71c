"""Runs the server: `python -m sandbank_interpreter --python /usr/bin/python3`."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from functools import partial
from pathlib import Path

import uvicorn

from .application import application
from .contexts import Contexts
from .kernels import kernel_factory
from .sandbox_variables import URL, sandbox_variables
from .warm_up import WARM_UP

IDLE_CONNECTION_SECONDS = 640  # longer than proxies in front keep theirs


def main() -> None:
    """Serves until a signal; kernels end with it."""
    parser = argparse.ArgumentParser(prog="sandbank_interpreter")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - the sandbox's only addresses
    parser.add_argument("--port", type=int, default=49999)
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter of users' cells")
    parser.add_argument("--home", default="/home/user", help="where contexts begin")
    parser.add_argument("--envs-url", default=URL)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHONHOME"))}
    with tempfile.TemporaryDirectory(prefix="code-interpreter-") as run_directory:  # 0700: whoever reaches a kernel's sockets is root
        contexts = Contexts(kernel_factory(arguments.python, Path(run_directory), environment), arguments.home)
        served = application(contexts, partial(sandbox_variables, url=arguments.envs_url), WARM_UP)
        uvicorn.run(
            served,
            host=arguments.host,
            port=arguments.port,
            timeout_keep_alive=IDLE_CONNECTION_SECONDS,
            access_log=False,
            timeout_graceful_shutdown=2,
        )


if __name__ == "__main__":
    main()
