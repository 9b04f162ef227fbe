"""A page of another server changes nothing in a running UI."""

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from tests.running_ui import UI

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("ui")]
KEY = '{path: ["tiny", "gloss-tiny", "sae_metrics"]}'
WIPE = f"mutation {{ wipeAssets(assetPartitionRanges: [{{assetKey: {KEY}}}]) {{ __typename }} }}"
EVENTS = f"{{ assetOrError(assetKey: {KEY}) {{ ... on Asset {{ assetMaterializations {{ runId }} }} }} }}"
PAGE = """<img src="{url}/graphql?query={query}"><img src="{url}/graphql?query={query}&x=1"><script>
const body = JSON.stringify({{query: decodeURIComponent("{query}")}})
const headers = {{"content-type": "application/json"}}
const tries = [{{method: "POST", mode: "no-cors", body}}, {{method: "POST", body, headers}}]
Promise.allSettled(tries.map(one => fetch("{url}/graphql", one))).then(() => document.title = "tried")
const socket = new WebSocket("{url}/graphql".replace("http", "ws"), "graphql-ws")
</script>"""


@pytest.fixture
def foreign(ui: UI) -> Iterator[str]:
    """Address of a server with the hostile page."""
    content = PAGE.format(url=ui.url, query=quote(WIPE)).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_foreign_page_wipes_nothing(ui: UI, foreign: str, browser: Browser) -> None:
    before = ui.ask(EVENTS)["assetOrError"]["assetMaterializations"]
    assert before
    page = browser.new_page()
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if "graphql" in answer.url else None)
    page.goto(foreign)
    page.wait_for_function("document.title === 'tried'", timeout=60_000)
    page.wait_for_timeout(2000)
    assert statuses
    assert set(statuses) == {403}
    assert ui.ask(EVENTS)["assetOrError"]["assetMaterializations"] == before
    # The mutation itself is valid: the page of the UI may send it.
    assert ui.ask(WIPE)["wipeAssets"]["__typename"] == "AssetWipeSuccess"
