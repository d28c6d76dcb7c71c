"""Everything that Python or its libraries would do late, done early.

Inside a sandbox the host's files are gone: an import that happens on the first request fails there. Importing this module imports all of
the agent; `warm` runs what libraries put off until first use.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import json
import os
import secrets
import subprocess
import zlib
from types import ModuleType

from google.protobuf import json_format
from google.protobuf.message import Message

from sandbank.contracts import filesystem, process
from sandbank.envd.connect.codec import CODECS


def warm() -> None:
    """Run once in the zygote. Starts no thread, keeps no descriptor."""
    for name in ("ascii", "latin-1", "utf-8", "idna"):
        codecs.lookup(name)  # encoding with one of the first three takes a short cut past the module that opening a file needs
    "sandbox".encode("idna")
    b"\xff".decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    hashlib.sha256(b"").digest()  # OpenSSL reads its configuration on first use
    hmac.compare_digest(b"", b"")
    secrets.token_hex(4)
    zlib.compressobj(1, wbits=31).flush()
    json.dumps(json.loads('{"text":"\\u00e4"}'))
    subprocess.Popen(["/bin/true"], start_new_session=True).wait()
    os.strerror(2)
    _warm_messages()


def _warm_messages() -> None:
    """Descriptors build their tables on first use, in memory that forks would otherwise each have their own copy of."""
    entry = filesystem.EntryInfo(name="a", symlink_target="b", metadata={"k": "v"}, type=filesystem.FileType.FILE_TYPE_FILE)
    entry.modified_time.seconds = 1
    config = process.ProcessConfig(cmd="true", args=["a"], envs={"k": "v"}, cwd="/")
    events = (
        process.ProcessEvent(start=process.ProcessEvent.StartEvent(pid=1)),
        process.ProcessEvent(data=process.ProcessEvent.DataEvent(stdout=b"x")),
        process.ProcessEvent(end=process.ProcessEvent.EndEvent(exit_code=1, status="exit status 1", error="x")),
        process.ProcessEvent(keepalive=process.ProcessEvent.KeepAlive()),
    )
    selector = process.ProcessSelector(pid=1)
    data = process.ProcessInput(stdin=b"x")
    messages = (
        *(process.StartResponse(event=event) for event in events),
        process.StartRequest(process=config, pty=process.PTY(size=process.PTY.Size(cols=1, rows=1)), tag="t", stdin=False),
        process.ListResponse(processes=[process.ProcessInfo(config=config, pid=1, tag="t")]),
        process.SendInputRequest(process=selector, input=data),
        process.StreamInputRequest(data=process.StreamInputRequest.DataEvent(input=data)),
        process.SendSignalRequest(process=selector, signal=process.Signal.SIGNAL_SIGKILL),
        filesystem.ListDirResponse(entries=[entry]),
        filesystem.WatchDirResponse(filesystem=filesystem.FilesystemEvent(name="a", entry=entry)),
        filesystem.CreateWatcherRequest(path="/", recursive=True),
    )
    for codec in CODECS.values():
        for message in messages:
            codec.decode(codec.encode(message), type(message))
    for kind in (*_kinds(process), *_kinds(filesystem)):
        json_format.MessageToDict(kind.FromString(b""))


def _kinds(module: ModuleType) -> list[type[Message]]:
    return [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Message)]
