"""Which request of a client becomes which one of ours (contract templates-and-data §1.1.2, proxy handler).

Only what a push or a pull consists of has a way through, and only in its plain spelling: whatever another parser could read as another path
(`..`, `%2f`, `//`) matches nothing. So nobody reaches beyond the repository of the template that his token is for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from sandbank.docker_reverse_proxy.core.continuations import Continuations
from sandbank.docker_reverse_proxy.core.scope import REPOSITORIES, TEMPLATE_ID

PREFIX = f"/v2/{REPOSITORIES}/"

_PATH = re.compile(rf"{PREFIX}({TEMPLATE_ID})/(.+)")
_DIGEST = r"[a-z0-9]+:[0-9a-f]{32,128}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_SESSION = r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*"
_READ = frozenset({"GET", "HEAD"})
# Path behind the repository, methods, query parameters that travel on.
_ROUTES: tuple[tuple[re.Pattern[str], frozenset[str], frozenset[str]], ...] = (
    (re.compile(rf"blobs/{_DIGEST}"), _READ, frozenset()),
    (re.compile(rf"manifests/(?:{_TAG}|{_DIGEST})"), _READ | {"PUT"}, frozenset()),
    (re.compile(r"blobs/uploads/?"), frozenset({"POST"}), frozenset({"digest"})),
    (re.compile(r"tags/list"), _READ, frozenset({"n", "last"})),
    (re.compile(rf"referrers/{_DIGEST}"), _READ, frozenset({"artifactType"})),
)
_UPLOAD = re.compile(rf"blobs/uploads/({_SESSION})")
_UPLOAD_METHODS = frozenset({"GET", "PATCH", "PUT"})


@dataclass(frozen=True, slots=True)
class Routes:
    """The way to one upstream registry, where the names of our repositories begin with `prefix`: empty, or ending with a slash."""

    prefix: str
    continuations: Continuations

    def find_target(self, method: str, target: str, template_id: str) -> str | None:
        """The request target for the upstream; nothing for what the bearer of a token for this template may not ask."""
        path, _, query = target.partition("?")
        match = _PATH.fullmatch(path)
        if match is None or match[1] != template_id:
            return None
        rest = match[2]
        for pattern, methods, parameters in _ROUTES:
            if pattern.fullmatch(rest) is not None:
                return self._repository(template_id) + rest + self._query(query, parameters, template_id) if method in methods else None
        session = _UPLOAD.fullmatch(rest)
        if session is None or method not in _UPLOAD_METHODS:
            return None
        if self.continuations.is_sealed(session[1]):
            found = self.continuations.open(session[1], template_id)
        else:
            found = self._repository(template_id) + rest
        if found is None or not query:
            return found
        return found + ("&" if "?" in found else "?") + query

    def rewrite_location(self, location: str, host: str, template_id: str) -> str:
        """The `Location` that leads back here for one that the upstream, called `host`, gave; relative, so that it fits every client's way.

        What leads to another host, as blobs in object storage do, stays.
        """
        try:
            parts = urlsplit(location)
            leads_elsewhere = parts.hostname is not None and parts.hostname != host
        except ValueError:
            return location
        if leads_elsewhere:
            return location
        query = f"?{parts.query}" if parts.query else ""
        rest = parts.path.removeprefix(self._repository(template_id))
        if rest != parts.path and self._is_plain(rest):
            return f"{PREFIX}{template_id}/{rest}{query}"
        return f"{PREFIX}{template_id}/blobs/uploads/{self.continuations.seal(parts.path + query, template_id)}"

    def _is_plain(self, rest: str) -> bool:
        session = _UPLOAD.fullmatch(rest)
        if session is not None:
            return not self.continuations.is_sealed(session[1])
        return any(pattern.fullmatch(rest) for pattern, _, _ in _ROUTES)

    def _repository(self, template_id: str) -> str:
        return f"/v2/{self.prefix}{template_id}/"

    def _query(self, query: str, allowed: frozenset[str], template_id: str) -> str:
        given = parse_qsl(query, keep_blank_values=True)
        kept = [(name, value) for name, value in given if name in allowed]
        named = dict(given)
        # To mount from another repository would be to read it with our credentials. Without these two a client uploads instead.
        if "digest" in allowed and "mount" in named and named.get("from") == f"{REPOSITORIES}/{template_id}":
            kept += [("mount", named["mount"]), ("from", self.prefix + template_id)]
        return "?" + urlencode(kept, quote_via=quote, safe=":/") if kept else ""
