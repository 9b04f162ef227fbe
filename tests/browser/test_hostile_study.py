"""A study with hostile names, categories, texts and descriptions is computed and shown, and nothing of it is obeyed."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import ARTEFACTS, run_emergence
from tests.family import MODELS, trained_family
from tests.running_explorer import running_explorer
from tests.running_ui import UI, running_ui
from tests.studies.published_study import SMALL, local_family, write_study

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("ui")]
RUN = "window.executed = true"
CATEGORIES = (
    f"</script><script>{RUN}</script>",
    f'"><img src=x onerror="{RUN}">',
    "[bold red]markup[/] [/nothing] [link=http://127.0.0.1:9]here[/link]",
    "\x1b]0;title\x07\x1b[31mred\x1b[2J\x08\x08",
    "\u202eright to left\u2066 \ufeffmark",
    f"[click](javascript:{RUN}) ![](http://127.0.0.1:9/x.png) {{{{7*7}}}} ${{7*7}} %s %n",
    "../../etc/passwd\r\n=cmd|' /C calc'!A0",
    "long " * 60,
)
DESCRIPTION = f"<img src=x onerror='{RUN}'> \x1b[31mred\u202e [b]bold[/b] ![](http://127.0.0.1:9/y.png)"
MODEL, SHAPE = "GLOSS.tiny-1_0", MODELS["gloss-tiny"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The study file and the data folder of a hostile study, which is finished."""
    folder = tmp_path_factory.mktemp("hostile")
    root = trained_family(
        folder / "od d#1% 'q\"[ab]*é" / "<b>runs", steps=(0, 8, 64), models={MODEL: SHAPE}, context=512
    )
    words = ("river", "stone", "violin", "harbour", "engine", "meadow", "copper", "lantern")
    rows = [
        {"text": f"{label} a {word} of {number} {words[number % 7]}s {RUN} \x1b[31m", "<i>kind</i>": label}
        for label, word in zip(CATEGORIES, words, strict=True)
        for number in range(45)
    ]
    texts = folder / "texts <script>.jsonl"
    texts.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    probes = {"source": "table", "path": str(texts), "levels": ["<i>kind</i>"], "template": "{text} ="}
    family = local_family(root, models={MODEL: {"d_model": SHAPE.d_model, "n_layers": SHAPE.n_layers}}, context=512)
    declared = write_study(folder / "hostile.yaml", family, description=DESCRIPTION, **{**SMALL, "probe_set": probes})
    return declared, folder / "data"


def shown_plainly(text: str) -> None:
    """Assert that a terminal finds nothing to obey in a text."""
    obeyed = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c not in "\n\u200d\u200c"}
    assert obeyed == set()


def test_every_command_shows_it_plainly(hostile: tuple[Path, Path]) -> None:
    declared, data = hostile
    for command in ("probes", "checkpoints", "run", "status", "claims", "storage", "audit --verify", "audit claims/1"):
        done = run_emergence(data, *command.split(), study=declared)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        shown_plainly(done.stdout + done.stderr)
    table = data / "hostile" / "tables" / "category_presence" / f"model={MODEL}.parquet"
    categories = pl.read_parquet(table)["category"]
    assert categories.drop_nulls().n_unique() == len(CATEGORIES)


def opened(browser: Browser, url: str) -> tuple[Page, list[str]]:
    page, complaints = browser.new_page(viewport={"width": 1500, "height": 1000}), list[str]()
    page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda sent: complaints.append(sent.url) if ":9/" in sent.url or sent.url.endswith("/x") else None
    )
    page.goto(url)
    return page, complaints


def test_the_report_executes_and_requests_nothing(hostile: tuple[Path, Path], browser: Browser) -> None:
    page, complaints = opened(browser, (hostile[1] / "hostile" / "report" / "index.html").as_uri())
    expect(page.get_by_text("markup", exact=False).first).to_be_attached()
    page.wait_for_timeout(1000)
    page.screenshot(path=ARTEFACTS / "hostile-page.png")
    assert page.evaluate("window.executed") is None
    assert complaints == []


@pytest.fixture(scope="module")
def ui(hostile: tuple[Path, Path]) -> Iterator[UI]:
    declared, data = hostile
    with running_ui(data, declared) as running:
        yield running


@pytest.mark.parametrize("asset", ["category_presence", "claims", "report"])
def test_the_ui_executes_and_requests_nothing(ui: UI, browser: Browser, asset: str) -> None:
    model = f"{MODEL}/" if asset == "category_presence" else ""
    page, complaints = opened(browser, f"{ui.url}/assets/hostile/{model}{asset}")
    expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=ARTEFACTS / f"hostile-{asset}.png")
    assert page.evaluate("window.executed") is None
    assert complaints == []


def test_the_explorer_executes_and_requests_nothing(hostile: tuple[Path, Path], browser: Browser) -> None:
    declared, data = hostile
    with running_explorer(data, declared) as address:
        page, complaints = opened(browser, address)
        for view in ("Overview", "Category", "Latent", "Claims", "SAEs and checkpoints"):
            page.get_by_role("tab", name=view, exact=True).click(timeout=60_000)
            page.wait_for_timeout(4000)
            page.screenshot(path=ARTEFACTS / f"hostile-explorer-{view.split()[0]}.png")
        expect(page.get_by_role("heading", name="Checkpoints")).to_be_visible(timeout=60_000)
        assert page.evaluate("window.executed") is None
        page.close()
    assert complaints == []
