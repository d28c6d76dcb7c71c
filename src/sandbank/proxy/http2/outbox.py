"""What one stream has still to send, and may when the peer's windows allow it."""

from __future__ import annotations

from collections import deque

from sandbank.proxy.http2.engine import Engine
from sandbank.proxy.http2.translation import Header


class Outbox:
    """One message on its way out. Never sends an empty DATA frame but for the end: clients take those for an attack (sdk-latest §2.4)."""

    __slots__ = ("_end_asked", "_engine", "_headers", "_pieces", "_stream_id", "_trailers", "ended", "size")

    def __init__(self, engine: Engine, stream_id: int) -> None:
        self._engine = engine
        self._stream_id = stream_id
        self._headers: list[Header] = []
        self._pieces: deque[memoryview] = deque()
        self._trailers: list[Header] = []
        self._end_asked = False
        self.size = 0
        self.ended = False

    @property
    def waiting(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._headers or self._pieces or (self._end_asked and not self.ended))

    def begin(self, headers: list[Header]) -> None:
        """The message's head."""
        self._headers = headers

    def write(self, data: bytes) -> None:
        """Some of its body."""
        if data:
            self._pieces.append(memoryview(data))
            self.size += len(data)

    def trail(self, trailers: list[Header]) -> None:
        """What follows its body."""
        self._trailers = trailers

    def end(self) -> None:
        """It is complete."""
        self._end_asked = True

    def flush(self) -> None:
        """Hand the engine as much as windows allow; sets `ended` after the last."""
        engine = self._engine
        stream_id = self._stream_id
        if self._headers:
            headers, self._headers = self._headers, []
            self.ended = self._end_asked and not self._pieces and not self._trailers
            engine.send_headers(stream_id, headers, end_stream=self.ended)
        while self._pieces:
            room = min(engine.local_flow_control_window(stream_id), engine.max_outbound_frame_size)
            if room <= 0:
                return
            piece = self._pieces[0]
            if len(piece) <= room:
                self._pieces.popleft()
            else:
                self._pieces[0] = piece[room:]
                piece = piece[:room]
            self.size -= len(piece)
            self.ended = self._end_asked and not self._pieces and not self._trailers
            engine.send_data(stream_id, piece.tobytes(), end_stream=self.ended)
            engine.guard.sent(len(piece))
        if self._end_asked and not self.ended:
            if self._trailers:
                engine.send_headers(stream_id, self._trailers, end_stream=True)
            else:
                engine.end_stream(stream_id)
            self.ended = True
