"""Process events as payloads, once per codec and without building messages for the common ones.

`StartResponse` and `ConnectResponse` have the same shape on the wire, so one payload serves both.
"""

from __future__ import annotations

from binascii import b2a_base64

from sandbank.contracts.process import ProcessEvent, StartResponse
from sandbank.envd.connect.codec import Codec
from sandbank.envd.process.subscription import Event, Output

_KEEPALIVE = StartResponse(event=ProcessEvent(keepalive=ProcessEvent.KeepAlive()))
_JSON_HEADS = {stream: b'{"event":{"data":{"%s":"' % stream.encode() for stream in ("stdout", "stderr", "pty")}


def encode_start(codec: Codec, pid: int) -> bytes:
    """The first event of every stream."""
    return codec.encode(StartResponse(event=ProcessEvent(start=ProcessEvent.StartEvent(pid=pid))))


def encode_keepalive(codec: Codec) -> bytes:
    """The sign of life of a silent stream."""
    return codec.encode(_KEEPALIVE)


def encode_event(codec: Codec, event: Event) -> bytes:
    """Output or end."""
    if not isinstance(event, Output):
        return codec.encode(StartResponse(event=ProcessEvent(end=event)))
    if codec.name == "json":
        return b'%s%s"}}}' % (_JSON_HEADS[event.stream], b2a_base64(event.data, newline=False))
    data = ProcessEvent.DataEvent()
    setattr(data, event.stream, event.data)
    return codec.encode(StartResponse(event=ProcessEvent(data=data)))
