"""The library's connection, with our settings and bounds around it."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.settings import SettingCodes, Settings

from sandbank.proxy.head import MAX_HEAD_BYTES
from sandbank.proxy.http2.guard import FrameGuard

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4
MAX_STREAMS = 100  # contract data-plane §7
STREAM_WINDOW_BYTES = 512 * 1024  # of a stream's body that may wait for whoever takes it
CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024  # of all its streams' bodies; eight that are stuck stop the others
MAX_FRAME_BYTES = 64 * 1024
_MAX_TABLE_BYTES = 4096


class Engine(H2Connection):
    """Bytes in, events out, bytes out. A client's engine when `client_side`.

    Headers are neither checked nor changed here: the library treats a malformed request as the end of the whole connection.
    """

    MAX_CLOSED_STREAMS = 1024  # that are remembered; the library's own number makes megabytes of it per connection

    def __init__(self, *, client_side: bool) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=client_side,
            )
        )
        self.guard = FrameGuard(0 if client_side else len(PREFACE))
        values = {
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        }
        if client_side:
            values[SettingCodes.ENABLE_PUSH] = 0
        else:
            values[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.local_settings = Settings(client=client_side, initial_values=values)
        self.max_inbound_frame_size = MAX_FRAME_BYTES

    def begin(self, upgrade_settings: bytes | None = None) -> None:
        """Say our settings; with `upgrade_settings`, stream 1 is there already (RFC 7540 §3.2)."""
        if upgrade_settings is None:
            self.initiate_connection()
        else:
            self.initiate_upgrade_connection(upgrade_settings)
            self._bound_table()
        self.increment_flow_control_window(CONNECTION_WINDOW_BYTES - self.inbound_flow_control_window)

    def feed(self, data: bytes, now: float) -> tuple[list[Event], int]:
        """What the peer's bytes mean, and how many frames began in them; raises `CalmError` and the library's errors."""
        before = self.guard.frames
        passed = self.guard.pass_on(data, now)
        events = self.receive_data(passed) if passed else []
        self._bound_table()
        return events, self.guard.frames - before

    def _bound_table(self) -> None:
        # The peer allows a table, it does not make us keep one.
        if self.encoder.header_table_size > _MAX_TABLE_BYTES:
            self.encoder.header_table_size = _MAX_TABLE_BYTES
