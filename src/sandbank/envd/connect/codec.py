"""The two encodings of messages. Why not the official runtime: `docs/adr/0001-connect-codec.md`."""

from __future__ import annotations

import json
from typing import Protocol, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from sandbank.domain.errors import InvalidError

M = TypeVar("M", bound=Message)


class Codec(Protocol):
    """Turns messages into payloads and back; `name` is the suffix of the media type."""

    name: str

    def encode(self, message: Message) -> bytes: ...

    def decode(self, payload: bytes, kind: type[M]) -> M: ...


class JsonCodec:
    """proto3 JSON: lowerCamelCase out, either spelling in, unknown fields ignored, defaults omitted."""

    name = "json"

    def encode(self, message: Message) -> bytes:
        """Compact JSON."""
        return json.dumps(json_format.MessageToDict(message), separators=(",", ":"), ensure_ascii=False).encode()

    def decode(self, payload: bytes, kind: type[M]) -> M:
        """`InvalidError` for anything but a JSON object that fits; an empty payload is no message."""
        try:
            value = json.loads(payload)
            if isinstance(value, dict):
                return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, TypeError, RecursionError, SystemError) as error:
            # The last is upb's answer to a field's name that is no Unicode.
            raise InvalidError(f"unmarshal message: {error}") from error
        raise InvalidError("unmarshal message: not a JSON object")


class ProtoCodec:
    """Binary protobuf."""

    name = "proto"

    def encode(self, message: Message) -> bytes:
        """The serialised message."""
        return message.SerializeToString()

    def decode(self, payload: bytes, kind: type[M]) -> M:
        """`InvalidError` for bytes that are no such message."""
        try:
            return kind.FromString(payload)
        except DecodeError as error:
            raise InvalidError(f"unmarshal message: {error}") from error


CODECS: dict[str, Codec] = {"json": JsonCodec(), "proto": ProtoCodec()}
