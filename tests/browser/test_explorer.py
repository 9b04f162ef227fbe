"""The explorer in Chromium: every view is opened and clicked through, without a request to the outside."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

import emergence_assets as ea
from tests.conftest import ARTEFACTS, TINY, copied
from tests.running_explorer import running_explorer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("explorer")]
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def data(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored") / "data"
    copied(finished_study, folder)
    return folder


@pytest.fixture(scope="module")
def address(data: Path) -> Iterator[str]:
    with running_explorer(data, TINY) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The opened explorer; its test fails at a console error or a request to another host."""
    page, complaints = browser.new_page(viewport={"width": 1500, "height": 1100}), list[str]()
    page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda one: complaints.append(one.url) if urlsplit(one.url).hostname not in (None, "", "127.0.0.1") else None,
    )
    page.goto(address)
    expect(page.get_by_role("tab", name="Overview")).to_be_visible(timeout=PATIENCE_MS)
    yield page
    page.close()
    assert complaints == []


def open_view(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_the_headline_is_that_of_the_report_with_its_controls(page: Page, data: Path) -> None:
    expect(page.get_by_role("columnheader", name="random direction")).to_be_visible(timeout=PATIENCE_MS)
    headline = ea.open_study(TINY, data=data).table("headline").filter(control_id="none", category_level="subject")
    for row in headline.iter_rows(named=True):
        shown = page.get_by_role("row").filter(has=page.get_by_role("cell", name=row["model"], exact=True)).first
        expect(shown).to_contain_text(f"{row['p_first']:.3f} to {row['p_last']:.3f}")
    page.screenshot(path=ARTEFACTS / "explorer-overview.png")


def test_a_category_shows_its_latent_beside_its_neighbours_and_a_random_encoder(page: Page, data: Path) -> None:
    open_view(page, "Category")
    for text in ("this cell", "the step before", "the layer before", "best latent of a random encoder for"):
        expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="at step 6, layer 1")).to_be_visible()
    page.screenshot(path=ARTEFACTS / "explorer-category.png", full_page=True)
    study = ea.open_study(TINY, data=data)
    named = study.table("named_latents", model="gloss-tiny", step=6, layer=1).filter(control_id="none")
    assert any(page.get_by_text(name, exact=True).count() for name in named["name"])
    # Another cell, by a click on the heat map: steps to the right, layers upwards.
    heat = page.locator("canvas, svg.marks").first
    box = heat.bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.7 * box["height"])
    expect(page.get_by_role("heading", name="at step 0, layer 0")).to_be_visible(timeout=PATIENCE_MS)


def test_a_latent_has_texts_with_highlighted_tokens_and_neighbours(page: Page) -> None:
    open_view(page, "Latent")
    expect(page.get_by_text("weaker texts").first).to_be_visible(timeout=PATIENCE_MS)
    assert page.locator("bdi span[title]").count() > 10
    expect(page.get_by_role("heading", name="Latents that are matched with it")).to_be_visible()
    page.screenshot(path=ARTEFACTS / "explorer-latent.png", full_page=True)


def test_two_clicks_lead_from_the_list_of_claims_to_the_texts_of_a_latent(page: Page, data: Path) -> None:
    claims = ea.open_study(TINY, data=data).table("claims")
    number = claims.drop_nulls(["model", "category", "step", "layer"])["claim_id"][0]
    open_view(page, "Claims")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=str(number), exact=True)).first
    row.get_by_role("checkbox").click(timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name=f"Claim {number}, grade")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("SAE seed 0").first).to_be_visible(timeout=PATIENCE_MS)
    assert page.locator("bdi span[title]").count() > 5
    page.screenshot(path=ARTEFACTS / "explorer-claim.png", full_page=True)
    page.get_by_role("button", name="open its category").click()
    expect(page.get_by_text("this cell").first).to_be_visible(timeout=PATIENCE_MS)


def test_claims_are_filtered_by_kind(page: Page, data: Path) -> None:
    claims = ea.open_study(TINY, data=data).table("claims")
    kind, n_claims = claims.group_by("kind").len().sort("len", "kind").row(0)
    assert n_claims < claims.height
    open_view(page, "Claims")
    expect(page.get_by_text(f"{claims.height} claims; click one")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("marimo-multiselect").nth(1).get_by_text("Select...").click()
    page.get_by_role("option", name=kind, exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_text(f"{n_claims} claims; click one")).to_be_visible(timeout=PATIENCE_MS)


def test_it_is_dark_where_the_system_is_dark(browser: Browser, address: str) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(address)
        open_view(page, "Category")
        expect(page.get_by_text("this cell").first).to_be_visible(timeout=PATIENCE_MS)
        page.screenshot(path=ARTEFACTS / f"explorer-{scheme}.png", full_page=True)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        paper[scheme] = sum(map(float, re.findall(r"[\d.]+", colour)[:3]))
        page.close()
    assert paper["dark"] < 0.2 * paper["light"]


def test_edit_opens_a_copy_as_a_notebook(browser: Browser, data: Path, tmp_path: Path) -> None:
    with running_explorer(data, TINY, "--edit", folder=tmp_path) as address:
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.goto(address)
        # marimo runs no cell of a notebook before it is asked to, and ignores a click before its kernel has started.
        run, headline = (
            page.get_by_test_id("run-button").last,
            page.get_by_role("columnheader", name="random direction"),
        )
        expect(run).to_be_visible(timeout=PATIENCE_MS)
        for _ in range(PATIENCE_MS // 5_000):
            if headline.is_visible():
                break
            if run.is_enabled():
                run.click()
            page.wait_for_timeout(5_000)
        expect(headline).to_be_visible()
        page.screenshot(path=ARTEFACTS / "explorer-notebook.png")
        page.close()
    assert "open_study" in (tmp_path / "explore_tiny.py").read_text(encoding="utf-8")


def test_saes_and_checkpoints_are_listed(page: Page) -> None:
    open_view(page, "SAEs and checkpoints")
    expect(page.get_by_role("heading", name="Checkpoints")).to_be_visible(timeout=PATIENCE_MS)
    page.screenshot(path=ARTEFACTS / "explorer-saes.png", full_page=True)


def test_nobody_without_the_password_is_let_in(address: str) -> None:
    parts = urlsplit(address)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{parts.netloc}/api/kernel/run", b"{}", timeout=20)
    refused.value.close()
    assert refused.value.code in (401, 403)


def test_it_opens_on_a_study_that_is_not_finished(browser: Browser, data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "running")
    for name in ("claims.parquet", "named_latents", "latent_examples"):
        path = tmp_path / "running/tiny/tables" / name
        path.rename(tmp_path / name)
    with running_explorer(tmp_path / "running", TINY) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.get_by_text("claims is not made yet").first).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("tab", name="Category").click()
        expect(page.get_by_text("named_latents is not made yet").first).to_be_visible(timeout=PATIENCE_MS)
        page.close()
