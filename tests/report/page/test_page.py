"""The page is complete and safe, and its sentences agree with the tables."""

import dataclasses
import json
import re
from collections.abc import Callable
from html import escape, unescape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser

from emergence_assets.plan.lineage_id import figure_key, row_id
from emergence_assets.report.charts.figures import Figure, draw_figures
from emergence_assets.report.charts.readings import ReportTables
from emergence_assets.report.figure_tables import FIGURE_TABLES
from emergence_assets.report.page.data_quality_section import text_findings
from emergence_assets.report.page.page import build_page, json_for_script

HOSTILE = "</script><script>alert(1)</script>"
CHECK = {"asset": "sae", "check": "fvu_is_low", "description": "Below 1.", "blocking": True, "n_cells": 50, "found": []}
CHECKS = [
    CHECK | {"n_failing": 0, "failing": []},
    CHECK
    | {"check": "no_latent_is_dead", "blocking": False, "n_failing": 30, "failing": [f"cell {i}" for i in range(20)]}
    | {"found": [f"dead_frac: 30 rows break it, among them [{HOSTILE}]"]},
    CHECK | {"asset": "claims", "check": "keys_are_unique", "n_cells": 1, "n_failing": 1, "failing": ["study"]},
]
"""Rows of `data_quality.check_counts`."""
MADE = {"created": "2026-01-01T00:00:00+00:00", "fingerprint": "ab" * 16}


def _page(tables: ReportTables, figures: list[Figure]) -> str:
    return build_page(
        tables,
        figures,
        [
            {"asset": "headline", "fingerprint": "3f" * 16, "made": "2026-01-01"},
            {"asset": "claims", "fingerprint": "cd" * 16},
            {"asset": HOSTILE, "note": None},
        ],
        CHECKS,
        [f"9 of 100 texts are not read {HOSTILE}"],
        study=f"study {HOSTILE} $name",
        description=f"Two models & {HOSTILE}",
        recipe=f"name: test\nnote: {HOSTILE} $study",
        environment={"torch": "2.13.0", HOSTILE: HOSTILE},
        **MADE,
    )


@pytest.fixture(scope="module")
def page(rising: ReportTables) -> str:
    """The page of the study with a planted rise."""
    return _page(rising, draw_figures(rising))


class _Outline(HTMLParser):
    """Elements, attributes and text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.text += data


def _outline(page: str) -> _Outline:
    outline = _Outline()
    outline.feed(page)
    assert outline.open == []
    return outline


def test_every_element_is_closed_and_text_is_escaped(page: str) -> None:
    outline = _outline(page)
    assert len(outline.scripts) == 2
    assert "alert" not in outline.scripts[1]
    assert outline.text.count(HOSTILE) >= 6  # title, heading, description, recipe, environment, tables
    assert "$name" in outline.text


def test_nothing_is_loaded(page: str) -> None:
    outline = _outline(page)
    loading = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
    targets = [(tag, value or "") for tag, attrs in outline.tags for key, value in attrs.items() if key in loading]
    assert all(value.startswith(("#", "data:,")) for _, value in targets)
    assert not re.search(r"@import|url\((?!#)|import\(|fetch\(|XMLHttpRequest|WebSocket", page)
    assert set(re.findall(r"https?://[^\s\"'<>)]+", page)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    policy = next(attrs["content"] for tag, attrs in outline.tags if attrs.get("http-equiv"))
    assert (policy or "").startswith("default-src 'none'")


def test_the_page_is_accessible(page: str) -> None:
    outline = _outline(page)
    tags = outline.tags
    assert ("html", {"lang": "en"}) in tags
    assert [tag for tag, _ in tags].count("h1") == 1
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for tag, attrs in tags if tag == "svg")
    tables = [tag for tag, _ in tags if tag == "table"]
    assert len(tables) == [tag for tag, _ in tags].count("caption") == 11
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tags if tag == "th")
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {str(value) for _, attrs in tags for key, value in attrs.items() if key == "href" and value != "data:,"}
    assert targets <= {f"#{one}" for one in ids}


def test_the_page_contains_the_finding_and_all_figures(page: str) -> None:
    text = _outline(page).text
    assert "Single latents come to separate subject categories during training" in text
    assert "Single latents come to carry it, but it need not be new" in text
    assert "Result of the scale table: insufficient" in text
    assert page.count("<figure ") == 13
    assert page.count("<svg ") == 26
    assert "3f" * 16 in text
    assert "2026-01-01 00:00:00 UTC" in text
    assert "no data for this chart" not in text


def test_the_page_opens_with_three_charts_then_claims_then_controls(page: str) -> None:
    order = re.findall(r'<(?:section|figure) id="([\w-]+)"', page)
    questions = ["training", "presence-over-time", "layers", "gain-by-layer", "sizes", "presence-over-size"]
    assert order[:8] == [*questions, "claims-section", "latents"]
    assert order[8:10] == ["controls", "controls-at-last-step"]


def test_every_figure_has_a_place_in_the_page() -> None:
    template = files("emergence_assets.report.page").joinpath("page_template.html").read_text(encoding="utf-8")
    assert [name for name in FIGURE_TABLES if f"\n${name}\n" not in template] == []


def test_claims_that_may_not_be_repeated_stand_behind_a_fold(page: str, rising: ReportTables) -> None:
    fold = page[page.index('<details id="may-not">') :]
    fold = fold[: fold.index("</details>")]
    before = page[: page.index('<details id="may-not">')]
    counts = dict(rising.claims.group_by("grade").len().iter_rows())
    assert f"{counts['reject']} rejected" in fold
    means = rising.claims.filter(pl.col("category").is_null())
    assert {"A", "B"} & set(means["grade"])
    for number, grade in means.select("claim_id", "grade").iter_rows():
        assert (f">claims/{number}<" in fold) == (grade not in ("A", "B"))
        assert (f">claims/{number}<" in before) == (grade in ("A", "B"))


def test_figures_and_claims_have_the_lineage_ids_of_the_audit(page: str, rising: ReportTables) -> None:
    text = _outline(page).text
    assert row_id("ab" * 16, figure_key("presence_over_time")) in text
    about_means = rising.claims.filter(pl.col("category").is_null())["claim_id"].to_list()
    assert all(row_id("cd" * 16, {"claim_id": number}) in text for number in about_means)
    assert len(set(re.findall(r"Lineage id <code>(abababab..-[0-9a-f]{8})", page))) == page.count("<figure ")


def test_the_page_lists_the_checkpoints_that_were_left_out_with_reasons(page: str, rising: ReportTables) -> None:
    text = _outline(page).text
    assert "22 checkpoints of 2 models, from project/large, project/small" in text
    assert "2 were left out of every curve (2 duplicate)" in text
    assert text.count("it has the weights of step 512") == 2
    clean = dataclasses.replace(rising, checkpoint_registry=rising.checkpoint_registry.filter(pl.col("on_time_axis")))
    text = _outline(_page(clean, [])).text
    assert "None was left out" in text
    assert "Checkpoints that were left out" not in text


def test_the_page_lists_what_is_wrong_with_the_texts(page: str) -> None:
    assert f"<li>9 of 100 texts are not read {escape(HOSTILE)}</li>" in page
    assert text_findings([]) == ""


def test_the_page_counts_every_check_and_names_the_cells_that_do_not_pass(page: str, rising: ReportTables) -> None:
    def rows(page: str, table: str) -> list[list[str]]:
        found = re.search(rf'<table id="{table}".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
        lines = re.findall(r"<tr>(.*?)</tr>", found.group(1), re.DOTALL) if found else []
        return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)] for line in lines]

    assert "3 checks of the 2 assets that this page is made from" in _outline(page).text
    assert "some cells do not pass 2 of them" in _outline(page).text
    warned, failed = rows(page, "failing-checks")
    assert warned[:5] == ["sae", "no_latent_is_dead", "20", "30", "0"]
    assert warned[5].endswith("cell 18, cell 19 and 10 more")
    assert warned[6] == f"dead_frac: 30 rows break it, among them [{HOSTILE}]"
    assert failed[:6] == ["claims", "keys_are_unique", "0", "0", "1", "study"]
    assert [row[:5] for row in rows(page, "checks")] == [
        ["sae", "fvu_is_low", "50", "0", "0"],
        warned[:5],
        failed[:5],
    ]
    sound = build_page(rising, [], [], CHECKS[:1], [], study="", description="", recipe="", environment={}, **MADE)
    assert "every cell passes" in _outline(sound).text
    assert rows(sound, "failing-checks") == []


def test_one_sae_seed_is_told_however_many_random_encoders_there_are(rising: ReportTables) -> None:
    is_measured = pl.col("control_id") == "none"
    one = pl.when(is_measured).then(1).otherwise(pl.col("n_seeds")).cast(pl.Int16)
    presence = rising.category_presence.with_columns(n_seeds=one)
    assert presence["n_seeds"].max() == 2
    text = _outline(_page(dataclasses.replace(rising, category_presence=presence), [])).text
    assert "Anything about other SAEs: there is one SAE seed" in text


def test_the_numbers_are_embedded_as_json(page: str, rising: ReportTables) -> None:
    numbers = json.loads(_outline(page).scripts[0])
    assert numbers["study"].startswith(f"study {HOSTILE}")
    assert {row["category"] for row in numbers["categories"]} == set(rising.domains)
    assert [row["model"] for row in numbers["sizes"]] == ["small", "large"]
    assert json.loads(json_for_script({"a": "</script><!-- &"})) == {"a": "</script><!-- &"}
    assert not set("<>&") & set(json_for_script({"a": "</script><!-- &"}))
    with pytest.raises(ValueError, match="JSON"):
        json_for_script(float("nan"))


def test_equal_tables_give_equal_pages(page: str, rising: ReportTables) -> None:
    assert _page(rising, draw_figures(rising)) == page


def test_pages_of_null_broken_and_unfinished_studies_claim_no_emergence(
    planted_tables: Callable[..., ReportTables],
) -> None:
    null = _outline(_page(planted_tables(0.0), [])).text
    assert "No emergence is shown" in null
    assert "Features emerge" not in null
    broken = _outline(_page(planted_tables(0.5, shuffle_shift=0.06), [])).text
    assert "No emergence may be claimed" in broken
    assert "Features emerge" not in broken
    assert broken.count("A control failed or is missing (see the finding)") == 3
    late = _outline(_page(planted_tables(0.5, steps=(8, 64)), [])).text
    assert "No conclusion yet" in late
    assert "There is no data for this chart yet." in late


def test_a_study_without_results_has_a_page(empty: ReportTables) -> None:
    assert "There is no result for subject categories yet." in _outline(_page(empty, [])).text


@pytest.mark.browser
def test_the_page_opens_offline_without_errors(page: str, tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    for width, shown, hidden in ((1400, "wide", "narrow"), (390, "narrow", "wide")):
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        opened = context.new_page()
        problems: list[str] = []
        requests: list[str] = []
        opened.on("console", lambda message, seen=problems: seen.append(message.text))
        opened.on("pageerror", lambda error, seen=problems: seen.append(str(error)))
        opened.on("request", lambda request, seen=requests: seen.append(request.url))
        opened.goto(path.as_uri())
        assert opened.locator(f".{shown} svg").first.is_visible()
        assert not opened.locator(f".{hidden} svg").first.is_visible()
        assert opened.evaluate("document.documentElement.scrollWidth") == width

        rows = opened.locator("#categories tbody tr")
        assert rows.count() == 6
        opened.locator("#categories thead th button").first.click()
        names = opened.locator("#categories tbody th").all_inner_texts()
        assert names == sorted(names, key=str.lower)
        gain = opened.locator("#categories thead th", has_text="gain")
        gain.locator("button").click()
        assert gain.get_attribute("aria-sort") == "ascending"
        opened.locator("#query").fill("music")
        assert [rows.nth(i).is_visible() for i in range(6)].count(True) == 1
        with opened.expect_download() as download:
            opened.locator(".download").click()
        assert json.loads(Path(download.value.path()).read_text())["level"] == "subject"
        cell = opened.locator(f"#gain-by-layer .{shown} [aria-roledescription='rect mark']").first
        cell.hover()
        assert opened.locator("#hint").inner_text().startswith("small, layer 0, step 0: 0.0")
        assert problems == []
        assert requests[0] == path.as_uri()
        assert all(url.startswith(("file:", "blob:")) for url in requests)
        context.close()
