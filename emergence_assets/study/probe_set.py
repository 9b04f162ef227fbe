"""Probe sets in a study file: the embedded glosses, MMLU, or a user's file."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from emergence_assets.study.strict import MOST, Positive, Seed, StrictModel, distinct

RESERVED_COLUMNS = ("text_id", "text", "split", "unit", "place", "document")
"""Columns of every probe set; no label level may have one of these names."""


class WordNetProbes(StrictModel):
    """Held-out WordNet glosses with three label levels: subject, area, domain."""

    source: Literal["wordnet"]
    texts_per_category: Positive = 200
    """Maximum number of texts of one subject."""
    min_texts_per_category: int = Field(default=40, ge=8, le=MOST)
    """Categories with fewer texts are left out."""
    seed: Seed = 0


class PromptedProbes(StrictModel):
    """Fields of all probe sets from files."""

    template: str = Field(default="{text}\nAnswer:", max_length=10_000)
    r"""Prompt around every text, as in `{text}\nAnswer:`. The residual stream is read at the last token of the prompt,
    which has to be the same for all texts."""
    min_texts_per_category: int = Field(default=40, ge=8, le=MOST)
    """Categories with fewer texts are left out."""

    @field_validator("template")
    @classmethod
    def _template_holds_the_text(cls, template: str) -> str:
        if template.count("{text}") != 1:
            raise ValueError(f"template {template!r} has to hold {{text}} exactly once")
        rest = template.replace("{text}", "")
        if "{" in rest or "}" in rest:
            raise ValueError(f"template {template!r} holds another brace than those of {{text}}; remove it")
        if "\0" in template:
            raise ValueError("template holds a NUL; remove it")
        return template


class TableProbes(PromptedProbes):
    """A user's file: CSV, JSON lines or parquet, with a column of texts and one of labels per level."""

    source: Literal["table"]
    path: str
    """File that ends in .csv, .tsv, .jsonl, .ndjson or .parquet; relative to the working directory."""
    levels: Annotated[list[str], distinct("level")] = Field(min_length=1, max_length=100)
    """Label columns, finest first; the first is the primary level."""
    text_column: str = "text"
    text_id_column: str | None = None
    """Column of unique ids; by default the id of a text is its hash."""
    document_column: str | None = None
    """Column that names the document of a text, or whatever makes texts alike; such texts share a side of the split and
    are drawn together. By default only copies are."""
    category_map: str | None = None
    """Name of a shipped map from the first level to coarser ones: `mmlu`."""

    @field_validator("levels")
    @classmethod
    def _levels_are_not_reserved(cls, levels: list[str]) -> list[str]:
        if taken := [level for level in levels if level in RESERVED_COLUMNS]:
            raise ValueError(f"level {taken[0]} has a name that is reserved; rename the column")
        return levels


class MMLUProbes(PromptedProbes):
    """Questions of MMLU (Hendrycks et al. 2021) without their choices: 57 subjects, 17 areas, 4 domains."""

    source: Literal["mmlu"]
    path: str | None = None
    """File with the columns question and subject; by default the test split is downloaded from the hub."""
    repository: str = Field(default="cais/mmlu", pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset repository on the hub."""
    file: str = Field(default="all/test-00000-of-00001.parquet", pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*\.parquet$")
    """Parquet file in the repository."""
    revision: str = Field(default="main", pattern=r"^[\w.-]+$")
    """Branch, tag or commit. The first download pins its commit and hash."""


ProbeDesign = Annotated[WordNetProbes | TableProbes | MMLUProbes, Field(discriminator="source")]
