"""Answers the proxies give themselves: error pages with their exact texts (contract data-plane §7.5), and plain refusals."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from sandbank.proxy.negotiation import wants_html


@dataclass(frozen=True, slots=True)
class Page:
    """A complete answer."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[bytes, ...] = ()  # further header lines

    def encode(self, *, close: bool, head_only: bool = False) -> bytes:
        """The bytes on the wire; with `close` the client is told that this is the last answer on its connection."""
        lines = [
            b"HTTP/1.1 %d %s" % (self.status, HTTPStatus(self.status).phrase.encode()),
            *([b"Content-Type: " + self.content_type] if self.content_type else []),
            b"Content-Length: %d" % len(self.body),
            b"X-Content-Type-Options: nosniff",
            *self.headers,
        ]
        if close:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else self.body)


def plain(status: int, text: str) -> Page:
    """A line of text, as Go's `http.Error` writes it."""
    return Page(status, b"text/plain; charset=utf-8", text.encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error with two faces: `fields` are the JSON object in order, title and text are for people. All text is escaped here."""

    status: int
    fields: dict[str, str | int]
    title: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    may_pass: bool = False  # whether the same request may succeed in a moment: then people get a link that repeats it

    def page(self, request_fields: Mapping[bytes, bytes]) -> Page:
        """The face that fits the request."""
        if wants_html(request_fields):
            return Page(self.status, b"text/html; charset=utf-8", self._html())
        return Page(self.status, b"application/json; charset=utf-8", json.dumps(self.fields, separators=(",", ":")).encode())

    def _html(self) -> bytes:
        rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in self.facts)
        hint = f"<p class=hint>{html.escape(self.hint)}</p>" if self.hint else ""
        again = '<a href="">Try again</a>' if self.may_pass else ""
        # The document has no doctype and ends with its last tag: clients test for exactly these bytes.
        return (
            f'<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head><body><main><p class=status>{self.status}</p>"
            f"<h1>{html.escape(self.title)}</h1><p>{html.escape(self.text)}</p><dl>{rows}</dl>{hint}{again}</main></body></html>"
        ).encode()


# Media queries and no newer CSS: the page is also read in browsers of old devices.
_STYLE = (
    ":root{color-scheme:light dark;--page:#f5f5f3;--card:#fff;--text:#1d1d1f;--soft:#6b6b70;--line:#e3e3df;--mark:#b8481a}"
    "@media(prefers-color-scheme:dark){:root{--page:#161617;--card:#202022;--text:#ececea;--soft:#a0a0a5;--line:#333336;--mark:#f08a55}}"
    "*{box-sizing:border-box}"
    "body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1rem;"
    "font:16px/1.55 system-ui,sans-serif;background:var(--page);color:var(--text)}"
    "main{width:100%;max-width:34rem;padding:clamp(1.25rem,5vw,2.5rem);border-radius:14px;background:var(--card);"
    "border:1px solid var(--line)}"
    ".status{margin:0;font:600 .85rem ui-monospace,monospace;letter-spacing:.08em;color:var(--mark)}"
    "h1{margin:.2rem 0 .8rem;font-size:1.5rem;line-height:1.25}p{margin:0 0 1rem;overflow-wrap:anywhere}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem;margin:1.25rem 0;font:.9rem ui-monospace,monospace}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}.hint{font-size:.95rem;color:var(--soft)}"
    "a{display:inline-block;padding:.45rem 1rem;border:1px solid var(--line);border-radius:8px;color:inherit;text-decoration:none}"
)


def sandbox_not_found(sandbox_id: str) -> Problem:
    """There is no running sandbox of this name."""
    return Problem(
        502,
        {"sandboxId": sandbox_id, "message": "The sandbox was not found", "code": 502},
        "Sandbox Not Found",
        f"The sandbox {sandbox_id} was not found.",
        (("Sandbox", sandbox_id),),
        "It may have reached its end of life, been killed or paused. If you have just created it, check the address.",
        may_pass=True,
    )


def port_closed(sandbox_id: str, port: int) -> Problem:
    """The sandbox runs, but nothing answers at this port."""
    return Problem(
        502,
        {"sandboxId": sandbox_id, "message": "The sandbox is running but port is not open", "port": port, "code": 502},
        "Closed Port Error",
        f"The sandbox {sandbox_id} is running, but there is no service running on port {port}.",
        (("Sandbox", sandbox_id), ("Port", str(port))),
        "Start the service in the sandbox, or give it a moment until it listens, then load this page again.",
        may_pass=True,
    )


def resume_denied(sandbox_id: str) -> Problem:
    """The sandbox is paused, and who asks may not wake it."""
    return Problem(
        403,
        {
            "sandboxId": sandbox_id,
            "message": "This sandbox can't be resumed with the credentials provided. Check your access token and try again.",
            "code": 403,
        },
        "Unable to Resume Sandbox",
        f"The sandbox {sandbox_id} is paused, and this request carries nothing that would let it be resumed.",
        (("Sandbox", sandbox_id),),
        "Send the sandbox's access token, or ask its owner to resume it.",
    )


def still_transitioning(sandbox_id: str) -> Problem:
    """The sandbox is between two states and stays so for longer than a request waits."""
    return Problem(
        409,
        {"sandboxId": sandbox_id, "message": "The sandbox is still transitioning. Try again in a moment.", "code": 409},
        "Sandbox Still Transitioning",
        f"The sandbox {sandbox_id} is being paused or saved at this moment.",
        (("Sandbox", sandbox_id),),
        "Load this page again in a moment.",
        may_pass=True,
    )


def too_many_connections(sandbox_id: str, limit: int) -> Problem:
    """The sandbox is asked as much as it may be."""
    return Problem(
        429,
        {
            "sandboxId": sandbox_id,
            "message": f"The sandbox has too many concurrent incoming connections (limit: {limit})",
            "code": 429,
            "connectionLimit": limit,
        },
        "Too Many Connections",
        f"The sandbox {sandbox_id} has too many concurrent incoming connections.",
        (("Sandbox", sandbox_id), ("Limit", str(limit))),
        "Close some of them, or load this page again in a moment.",
        may_pass=True,
    )


def team_limit(sandbox_id: str, message: str) -> Problem:
    """The sandbox is paused, and its team runs as many others as it may; `message` is the control plane's."""
    text = message or "Sandbox limit reached"
    return Problem(
        429,
        {"sandboxId": sandbox_id, "message": text, "code": 429},
        "Sandbox Limit Reached",
        text,
        (("Sandbox", sandbox_id),),
        "It can be resumed as soon as another sandbox of its team has ended.",
        may_pass=True,
    )


def traffic_token_missing(sandbox_id: str) -> Problem:
    """The sandbox takes no public traffic and the request has no token."""
    return Problem(
        403,
        {
            "sandboxId": sandbox_id,
            "message": "Sandbox is secured with traffic access token. Token header 'e2b-traffic-access-token' is missing",
            "code": 403,
        },
        "Missing Traffic Access Token",
        f"The sandbox {sandbox_id} is secured with a traffic access token.",
        (("Sandbox", sandbox_id),),
        "Send the token in the header 'e2b-traffic-access-token'.",
    )


def traffic_token_invalid(sandbox_id: str) -> Problem:
    """The sandbox takes no public traffic and the token is another one."""
    return Problem(
        403,
        {
            "sandboxId": sandbox_id,
            "message": "Sandbox is secured with traffic access token. Provided token in header 'e2b-traffic-access-token' is invalid",
            "code": 403,
        },
        "Invalid Traffic Access Token",
        f"The sandbox {sandbox_id} is secured with a traffic access token, and this is not it.",
        (("Sandbox", sandbox_id),),
        "The token comes with the answer to the sandbox's creation.",
    )


def control_route(path: str) -> Problem:
    """A route of the agent that belongs to the control plane."""
    return Problem(
        404,
        {
            "message": "This endpoint is reserved for the E2B control plane and is not reachable through the sandbox URL",
            "path": path,
            "code": 404,
        },
        "Endpoint Not Available",
        "This endpoint is reserved for the control plane and is not reachable through the sandbox URL.",
        (("Path", path),),
    )
