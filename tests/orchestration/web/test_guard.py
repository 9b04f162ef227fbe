"""Requests of the UI's own pages pass; what the page of another server can make a browser send does not."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from emergence_assets.orchestration.web.guard import Guard

OWN = ("127.0.0.1:3000", "localhost:3000", "[::1]:3000", "localhost")
JSON = {"content-type": "application/json"}


async def _app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def answer(
    method: str = "GET",
    path: str = "/",
    query: str = "",
    kind: str = "http",
    guard: Guard | None = None,
    more: Sequence[tuple[str, str]] = (),
    **headers: str,
) -> dict[str, Any]:
    """Send a request with the given headers, `_` for `-`; return the first message of the answer."""
    named = {"host": "127.0.0.1:3000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in [*named.items(), *more]],
    }
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {}

    asyncio.run((guard or Guard(_app, (), any_address=False))(scope, receive, send))
    return sent[0] | {"body": sent[-1].get("body", b"")}


@pytest.mark.parametrize("host", OWN)
def test_the_pages_of_the_ui_pass(host: str) -> None:
    assert answer(host=host)["status"] == 200
    own = {
        "origin": f"http://{host}",
        "sec_fetch_site": "same-origin",
        "content_type": "application/json; charset=utf-8",
    }
    assert answer("POST", "/graphql", host=host, **own)["status"] == 200
    assert answer(kind="websocket", path="/graphql", host=host, origin=f"http://{host}")["status"] == 200


def test_a_script_without_a_browser_passes_with_json() -> None:
    assert answer("POST", "/graphql", **{"content_type": "application/json"})["status"] == 200


def test_a_link_from_elsewhere_may_be_followed() -> None:
    assert answer(path="/runs/1", sec_fetch_site="cross-site", sec_fetch_mode="navigate")["status"] == 200


MUTATION = "query=mutation%20%7B%20wipeAssets%20%7D"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"path": "/graphql", "query": MUTATION, "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, "page"),
        ({"path": "/graphql", "query": MUTATION}, "POST"),
        ({"path": "/graphql/", "query": MUTATION}, "POST"),
        ({"path": "/graphql", "query": MUTATION, "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, "POST"),
        ({"method": "POST", "path": "/graphql", "origin": "http://evil.example"}, "evil.example"),
        ({"method": "POST", "path": "/graphql", "origin": "null", "content_type": "application/json"}, "null"),
        ({"method": "POST", "path": "/graphql", "content_type": "text/plain"}, "application/json"),
        ({"method": "POST", "path": "/report_asset_materialization/a"}, "application/json"),
        ({"method": "PUT", "path": "/graphql"}, "application/json"),
        ({"host": "evil.example:3000"}, "evil.example"),
        ({"host": "127.0.0.1.evil.example"}, "evil.example"),
        ({"host": "192.168.0.7:3000"}, "192.168.0.7"),
        ({"host": ""}, "host"),
        ({"host": "[::1"}, "host"),
        ({"origin": "http://127.0.0.1:4000"}, "4000"),
        ({"more": [("host", "evil.example")]}, "repeated"),
        ({"more": [("Origin", "http://a"), ("origin", "http://127.0.0.1:3000")]}, "repeated"),
    ],
    ids=str,
)
def test_what_another_page_can_send_is_refused(request_: dict[str, Any], reason: str) -> None:
    refused = answer(**request_)
    assert refused["status"] == 403
    assert reason in json.loads(refused["body"])["error"]


def test_a_websocket_of_another_page_is_closed() -> None:
    assert answer(kind="websocket", path="/graphql", origin="http://evil.example")["type"] == "websocket.close"


def test_other_names_have_to_be_given() -> None:
    open_to_all = Guard(_app, ["Proxy.example"], any_address=True)
    assert answer(guard=open_to_all, host="proxy.example")["status"] == 200
    assert answer(guard=open_to_all, host="192.168.0.7:3000")["status"] == 200
    assert answer(guard=open_to_all, host="evil.example")["status"] == 403


def test_what_is_no_request_passes() -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Guard(app, (), any_address=False)({"type": "lifespan"}, None, None))  # pyright: ignore[reportArgumentType]
    assert seen == ["lifespan"]
