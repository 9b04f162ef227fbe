"""The site of `make docs-site`: all pages, whole links, nothing from other hosts, a search without a server."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from docs.conf import SECTIONS
from tests.conftest import ARTEFACTS, made_once

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
STRICT = ["--fresh-env", "--fail-on-warning", "--keep-going"]


class Links(HTMLParser):
    """Where a page leads, what a browser loads for it, and the names of its parts."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.leads_to: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"] or ""} if "id" in found else set()
        if tag in ("a", "link") and (address := found.get("href")):
            (self.leads_to if tag == "a" else self.loads).append(address)
        for name in ("src", "srcset", "poster", "data"):
            if address := found.get(name):
                self.loads.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning ends the build."""

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "sphinx", "--quiet", *STRICT, "--conf-dir", "docs"]
        command += ["--doctree-dir", str(tmp_path_factory.mktemp("doctrees")), ".", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "docs-site", build)


@pytest.fixture(params=["server", "files"])
def address(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """The site on a web server, and opened from the disk."""
    if request.param == "files":
        yield site.as_uri()
        return
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, format: str, *args: object) -> None:
        return


def test_every_page_is_in_the_navigation_once() -> None:
    listed = [page for pages in SECTIONS.values() for page in pages if not page.endswith("<self>")]
    assert sorted(listed) == [f"docs/{page}" for page in PAGES], "add the page to SECTIONS in docs/conf.py"


def test_the_make_target_is_as_strict_as_this_test() -> None:
    (recipe,) = re.findall(r"^docs-site:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(STRICT) <= set(recipe.split())


@pytest.mark.slow
def test_every_page_is_built_and_reached_from_the_introduction(site: Path) -> None:
    reached = {urlsplit(one).path for one in Links(site / "index.html").leads_to}
    for page in PAGES:
        assert f"docs/{page}.html" in reached
        title = re.search(r"^# (.*)$", (ROOT / "docs" / f"{page}.md").read_text("utf-8"), re.MULTILINE)
        assert title
        assert title[1] in (site / "docs" / f"{page}.html").read_text("utf-8")


@pytest.mark.slow
def test_every_link_inside_the_site_leads_somewhere(site: Path) -> None:
    pages = {path.resolve(): Links(path) for path in site.rglob("*.html")}
    for page, links in pages.items():
        for link in links.leads_to + links.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), (page.name, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, (page.name, link)


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert [one for one in Links(page).loads if urlsplit(one).netloc] == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]*", style.read_text("utf-8")) == [], style


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_word_is_found_without_a_network(browser: Browser, address: str, scheme: Literal["light", "dark"]) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1400, "height": 900})
    context.set_default_timeout(30_000)
    page, foreign = context.new_page(), list[str]()
    page.on("request", lambda one: foreign.append(one.url) if not one.url.startswith((address, "data:")) else None)
    context.route(lambda url: not url.startswith(address), lambda route: route.abort())
    page.goto(f"{address}/index.html")
    page.screenshot(path=ARTEFACTS / f"docs-{scheme}.png")
    page.get_by_placeholder("Search").first.fill("evicted")
    page.keyboard.press("Enter")
    result = page.get_by_role("main").get_by_role("link", name="Activations on disk").first
    expect(result).to_be_visible()
    page.screenshot(path=ARTEFACTS / f"docs-search-{scheme}.png")
    result.click()
    expect(page.get_by_role("heading", name="Activations on disk")).to_be_visible()
    page.screenshot(path=ARTEFACTS / f"docs-page-{scheme}.png")
    context.close()
    assert foreign == []
