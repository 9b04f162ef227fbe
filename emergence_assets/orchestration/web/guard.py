"""Guard in front of the UI, which has no login: requests that a page of another server makes are refused.

A browser sends requests of any page to any address, with GET and simple POST even without asking. The UI would accept
them, also mutations in the address of an image. The guard asks for a Host that only its user can mean, for the same
origin, for JSON in every request that may change something, and for no query in an address.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]
LOCAL = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD")
POLICY_VIOLATION = 1008
"""Code with which a websocket is closed (RFC 6455)."""


class Guard:
    """ASGI application that passes permitted requests on to another one."""

    def __init__(self, app: App, hosts: Collection[str], any_address: bool):
        """Protect an application.

        Args:
            app: the application.
            hosts: names that the Host header may have, beside those of the own machine.
            any_address: whether it may also be an IP address, to which no foreign name can be made to point.
        """
        self.app, self.hosts, self.any_address = app, {*LOCAL, *(host.lower() for host in hosts)}, any_address

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Answer a request; a refusal has status 403 and the reason."""
        if scope["type"] not in ("http", "websocket") or not (reason := self.refusal(scope)):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason[:120]})
            return
        body = json.dumps({"error": reason}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def refusal(self, scope: Scope) -> str:
        """Return why a request is refused; empty if it is permitted."""
        named: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            named.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        if any(len(named.get(name, ())) > 1 for name in ("host", "origin", "content-type")):
            return "a header is repeated"
        headers = {name: values[0] for name, values in named.items()}
        host = headers.get("host", "")
        if not self._is_own(host):
            return f"the host {host!r:.80} is not this server; name it in EMERGENCE_UI_HOSTS if it is"
        return _of_another_page(headers, host, scope) or _of_another_form(headers, scope)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address


def _of_another_page(headers: Mapping[str, str], host: str, scope: Scope) -> str:
    """Return why a request of another origin is refused; a link to a page may be followed from anywhere."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return f"it was made by a page of {origin!r:.80}"
    site = headers.get("sec-fetch-site", "none")
    is_link = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") == "GET"
    if site not in ("same-origin", "none") and not is_link:
        return "it was made by a page of another server"
    return ""


def _of_another_form(headers: Mapping[str, str], scope: Scope) -> str:
    """Return why a request without JSON, or with a query in its address, is refused."""
    if scope["type"] == "websocket":
        return ""
    if scope["method"] not in SAFE_METHODS:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return "" if kind == "application/json" else "its content is not application/json"
    if {"query", "mutation"} & parse_qs(scope.get("query_string", b"").decode("latin-1")).keys() and scope[
        "path"
    ].rstrip("/").endswith("/graphql"):
        return "a query has to be sent as JSON with POST"
    return ""
