"""The Dagster UI and the report as a user sees them."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from emergence_assets.orchestration.build import STAGES
from emergence_assets.pipeline import SPECS
from tests.conftest import ARTEFACTS
from tests.running_ui import UI

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("ui")]
STEPS = ("step000000", "step000001", "step000003")
LAYERS = ("L00", "L01")


def opened(browser: Browser, url: str, complaints: list[str]) -> Page:
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    return page


def test_the_lineage_shows_the_stages(ui: UI, browser: Browser) -> None:
    complaints: list[str] = []
    page = opened(browser, f"{ui.url}/asset-groups", complaints)
    for stage in STAGES:
        expect(page.get_by_text(stage, exact=True).first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1000)
    page.screenshot(path=ARTEFACTS / "lineage.png")
    assert complaints == []


def test_a_stage_shows_its_assets_of_every_model(ui: UI, browser: Browser) -> None:
    complaints: list[str] = []
    group = f"{ui.url}/locations/emergence_assets.definitions/asset-groups/checkpoints"
    page = opened(browser, f"{group}/list", complaints)
    for model in ("gloss-tinier", "gloss-tiny"):
        for asset in ("training_run", "checkpoint", "checkpoint_registry"):
            link = page.locator(f"a[href$='/assets/tiny/{model}/{asset}']")
            expect(link.first).to_be_visible(timeout=60_000)
    # The graph draws only the visible part: these two assets are next to each other.
    page.goto(f"{group}/lineage")
    for asset in ("training_run", "checkpoint"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=60_000)
    page.screenshot(path=ARTEFACTS / "checkpoints.png")
    assert complaints == []


def test_a_partition_page_shows_its_numbers_and_its_chart(ui: UI, browser: Browser) -> None:
    complaints: list[str] = []
    page = opened(
        browser, f"{ui.url}/assets/tiny/gloss-tiny/sae?view=partitions&partition=L01%7Cstep000003", complaints
    )
    expect(page.get_by_text("fvu", exact=True).first).to_be_visible(timeout=60_000)
    page.get_by_text("Show markdown", exact=False).first.click()
    chart = page.locator("img[src^='data:image/png']").first
    expect(chart).to_be_visible(timeout=60_000)
    assert chart.evaluate("image => image.naturalWidth") > 200
    page.screenshot(path=ARTEFACTS / "partition.png")
    assert complaints == []


def test_a_backfill_from_the_ui_makes_three_steps_of_all_layers(ui: UI) -> None:
    cell = "model=gloss-tiny/step={}/layer={}"
    cells = [cell.format(step[4:], layer[1:].zfill(3)) for step in STEPS for layer in LAYERS]
    files = [ui.data / f"tiny/activations/{cell}.h5" for cell in cells]
    files += [ui.data / f"tiny/tables/latent_examples/{cell}.parquet" for cell in cells]
    for file in files:
        file.unlink()
    answer = ui.ask(
        """mutation Launch($parameters: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $parameters) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        parameters={
            "assetSelection": [{"path": ["tiny", "gloss-tiny", spec.name]} for spec in SPECS if spec.grid == "cell"],
            "partitionNames": [f"{layer}|{step}" for layer in LAYERS for step in STEPS],
            "tags": [],
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    deadline = time.monotonic() + 420
    while True:
        backfill = ui.ask(
            """query State($id: String!) { partitionBackfillOrError(backfillId: $id) {
                ... on PartitionBackfill { status error { message } } } }""",
            id=answer["backfillId"],
        )["partitionBackfillOrError"]
        if backfill["status"].startswith(("COMPLETED", "FAILED", "CANCELED")):
            break
        assert time.monotonic() < deadline, backfill
        time.sleep(2)
    assert backfill["status"] in ("COMPLETED", "COMPLETED_SUCCESS"), (
        backfill,
        (ui.data / "ui.log").read_text()[-5000:],
    )
    assert all(file.exists() for file in files)


def test_the_report_opens_without_a_network(finished_study: Path, browser: Browser) -> None:
    complaints: list[str] = []
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((finished_study / "tiny/report/index.html").as_uri())
    expect(page.locator("h1")).to_be_visible()
    page.wait_for_timeout(1500)
    page.screenshot(path=ARTEFACTS / "report.png", full_page=True)
    assert complaints == []
    assert [url for url in requests if url.startswith("http")] == []
    context.close()
