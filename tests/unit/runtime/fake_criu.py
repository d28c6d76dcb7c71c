"""A CRIU that saves nothing: `python fake_criu.py MODE swrk DESCRIPTOR` speaks its protocol and does what MODE says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from sandbank.contracts.criu_rpc import CRIU_NOTIFY, CRIU_RESTORE, CriuNotice, CriuRequest, CriuResponse, CriuRestored


def main(mode: str, descriptor: int) -> None:
    peer = socket.socket(fileno=descriptor)
    request = CriuRequest.FromString(peer.recv(65536))
    images = Path(f"/proc/{os.getppid()}/fd/{request.opts.images_dir_fd}")
    is_done = True
    if mode == "notices":
        for name in ("pre-dump", "post-dump", "network-unlock"):
            peer.send(CriuResponse(type=CRIU_NOTIFY, success=True, notify=CriuNotice(script=name, pid=42)).SerializeToString())
            answer = CriuRequest.FromString(peer.recv(65536))
            is_done = is_done and answer.type == CRIU_NOTIFY and answer.notify_success
    elif mode == "hangs":
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        (images / "child").write_text(str(child.pid))
        time.sleep(1000)
    elif mode == "dies":
        sys.exit("libfoo.so.1: cannot open shared object file")
    elif mode == "reads":
        (images / "read").write_bytes(os.read(request.opts.inherit_fd[0].fd, 100))
    else:
        (images / request.opts.log_file).write_text(
            f"(00.012345) Error (criu/x.c:1): {mode}\n(00.02) Error (criu/cr-dump.c:1): Dumping FAILED.\n"
        )
        is_done = False
    restore = CriuRestored(pid=43) if request.type == CRIU_RESTORE else None
    peer.send(CriuResponse(type=request.type, success=is_done, restore=restore).SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]))
