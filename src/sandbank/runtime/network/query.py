"""As much of a DNS message as forwarding it needs (RFC 1035 §4.1)."""

from __future__ import annotations

HEADER_BYTES = 12
_RESPONSE_BIT = 0x80


class MalformedMessageError(ValueError):
    """No DNS message that could be forwarded."""


def question_of(message: bytes) -> bytes:
    """The question section as bytes, names in lower case, for comparing an answer with what was asked.

    Letters are compared without case because some servers answer so. Only messages with exactly one question are forwarded; nobody sends
    others. `MalformedMessageError` for the rest.
    """
    if len(message) < HEADER_BYTES or message[4:6] != b"\0\1":
        raise MalformedMessageError("not one question")
    position = HEADER_BYTES
    while True:
        if position >= len(message):
            raise MalformedMessageError("name goes past the end")
        length = message[position]
        position += 1
        if length == 0:
            break
        if length > 63:
            raise MalformedMessageError("a question's name has no pointers")
        position += length
    if position + 4 > len(message):
        raise MalformedMessageError("type and class are missing")
    return message[HEADER_BYTES:position].lower() + message[position : position + 4]


def is_query(message: bytes) -> bool:
    """Whether this asks rather than answers."""
    return len(message) >= HEADER_BYTES and not message[2] & _RESPONSE_BIT


def answers(message: bytes, transaction: bytes, question: bytes) -> bool:
    """Whether `message` is the response to our query; anything else arriving at our port is forged or late."""
    if len(message) < HEADER_BYTES or message[:2] != transaction or not message[2] & _RESPONSE_BIT:
        return False
    if message[4:6] == b"\0\0":
        # A refusal may come without the question; only errors may.
        return message[3] & 0x0F != 0
    try:
        return question_of(message) == question
    except MalformedMessageError:
        return False


def failure(query: bytes) -> bytes:
    """The answer SERVFAIL to `query`, its question included."""
    end = HEADER_BYTES + len(question_of(query))
    return query[:2] + bytes([query[2] & 0x79 | _RESPONSE_BIT, 0x82]) + b"\0\1" + bytes(6) + query[HEADER_BYTES:end]
