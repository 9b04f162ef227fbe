"""Which charts a report has, in which order, and what is written below each."""

from collections.abc import Callable
from dataclasses import dataclass

from emergence_assets.report.charts.checkpoint_likeness import cosine_heat_map, models_worth_showing
from emergence_assets.report.charts.controls_at_last_step import controls_at_last_step
from emergence_assets.report.charts.gains import gain_by_category, gain_by_layer
from emergence_assets.report.charts.half_steps_by_category import half_steps_by_category
from emergence_assets.report.charts.latents_found_again import latents_found_again
from emergence_assets.report.charts.presence_over_size import presence_over_size
from emergence_assets.report.charts.presence_over_time import presence_over_time
from emergence_assets.report.charts.profiles_by_depth import index_over_steps, profiles_by_depth
from emergence_assets.report.charts.readings import ReportTables, models_by_size
from emergence_assets.report.charts.sae_quality import sae_quality
from emergence_assets.report.charts.share_emerged import share_emerged
from emergence_assets.report.charts.shares_by_category import shares_by_category
from emergence_assets.report.charts.theme import NARROW, WIDE, Chart
from emergence_assets.report.charts.utility_by_compute import utility_by_compute


@dataclass(frozen=True)
class Figure:
    """A chart in both widths and the words that belong to it."""

    name: str
    """Stem of its file and anchor in the page."""
    caption: str
    """How to read it and which control guards it, in plain language."""
    wide: Chart
    """For a desk, a talk, a PNG."""
    narrow: Chart
    """For a phone."""


def draw_figures(tables: ReportTables) -> list[Figure]:
    """All figures for which there is data, in the order of the page."""
    level, presence = tables.level, tables.presence
    models = models_by_size(presence)
    if not models:
        return []
    largest = models[-1]
    alike = models_worth_showing(tables.registry)
    with_saes = [model for model in models if model in tables.sae_metrics["model"].unique()]
    charts: dict[str, Callable[[int], Chart | None]] = {
        "presence_over_time": lambda width: presence_over_time(presence, level, width),
        "controls_at_last_step": lambda width: controls_at_last_step(tables.controls, level, width),
        "gain_by_layer": lambda width: gain_by_layer(presence, level, width),
        "presence_over_size": lambda width: presence_over_size(tables.scale, level, width),
        "utility_by_compute": lambda width: utility_by_compute(tables.cost, level, width),
        "share_emerged": lambda width: share_emerged(tables.hazard, level, models, width),
        "half_steps_by_category": lambda width: half_steps_by_category(
            tables.time, level, largest, tables.domains, width
        ),
        "gain_by_category": lambda width: gain_by_category(presence, level, largest, width),
        "profiles_by_depth": lambda width: profiles_by_depth(tables.reactivation, tables.space, level, largest, width),
        "index_over_steps": lambda width: index_over_steps(tables.reactivation, level, largest, width),
        "shares_by_category": lambda width: shares_by_category(tables.mechanism, level, largest, width),
        "sae_quality": lambda width: sae_quality(tables.sae_metrics, with_saes, width) if with_saes else None,
        "latents_found_again": lambda width: latents_found_again(tables.stability, largest, width),
        "checkpoint_likeness": lambda width: cosine_heat_map(tables.registry, alike, width) if alike else None,
    }
    drawn = ((name, draw(WIDE), draw(NARROW)) for name, draw in charts.items())
    return [Figure(name, _CAPTIONS[name], wide, narrow) for name, wide, narrow in drawn if wide and narrow]


_CAPTIONS = {
    "presence_over_time": (
        "Read a solid line from left to right: it rises when single latents come to tell categories apart as training "
        "goes on. The dotted line of the same colour is where the untrained network stands; only the height above it "
        "was gained. Shuffled labels must stay at 0.5: if they rise too, picking the best of many latents is the "
        "cause. Dashed: a linear probe on the whole read-out vector; when it is high from the start, the information "
        "was there before any single latent carried it. Dash-dotted: what the words of the text alone tell."
    ),
    "controls_at_last_step": (
        "Each row asks how much of the result would be there without what it is meant to show. The longer the line "
        "from a point to the blue one, the less that control explains. Points at 0.5 are chance. A point right of the "
        "blue line means that more can be told without a single latent: from the whole vector or from the words."
    ),
    "gain_by_layer": (
        "Each cell is one layer at one checkpoint, blue where its best latents beat those of the untrained network in "
        "the same layer, white where nothing changed, brown where they fell behind. All panels share one colour scale. "
        "The guard is step 0: every cell is a difference to it. Neighbouring cells differ by chance too, so a single "
        "paler cell is no dip."
    ),
    "presence_over_size": (
        "Further right is a larger model, read at the layer that is best on the other half of the texts. The step 0 "
        "points show what size alone gives before training, shuffled labels what picking a latent alone gives. Each "
        "size is one training run, so the bars, which know nothing of other runs, understate the doubt between sizes."
    ),
    "share_emerged": (
        "A line climbs where categories reach half of their rise, and ends at the share that has emerged at all; what "
        "is missing above it had not emerged by the last checkpoint. Where a line is steepest most categories emerge. "
        "Dashed: the same rule applied to shuffled labels, which should stay at 0."
    ),
    "utility_by_compute": (
        "Further right costs more, higher is worth more: utility is the share of the possible gain over the untrained "
        "network that the best single latents have made, zero before training. A curve that has gone flat buys "
        "nothing more. The guard is step 0, and that the layer was chosen on texts that are not scored. Each size is "
        "one training run, and another family would lie elsewhere: compare points within the figure only."
    ),
    "half_steps_by_category": (
        "Categories further down emerge later. The point is where half of the rise is reached, the bar its 95 % "
        "interval, never narrower than the gap between two checkpoints. A category is drawn "
        "only if a fitted rise beats a constant by a wide margin, is at least 0.05, lasts, and passes the correction "
        "for testing many categories and layers."
    ),
    "gain_by_category": (
        "Each row is one category over training: blue is a gain over the untrained network, brown a loss. A dot marks "
        "a gain whose 95 % interval excludes 0; with this many cells a few dots appear by chance, so look for rows in "
        "which they last. The guard is step 0, and that the layer was chosen on texts that are not scored here."
    ),
    "profiles_by_depth": (
        "Left is the first layer, right the last. A category falls and returns where its solid line is lower in the "
        "shaded third than on both sides. If the dense probe falls with it, the model itself carries less there; if "
        "it stays, only the SAEs of those layers spend their latents elsewhere. These are the deepest falls of all "
        "categories, so that noise has been picked too: the word below a name is the verdict of its criteria."
    ),
    "index_over_steps": (
        "At 1 the middle third has lost all that both ends gained, at 0 nothing, below 0 it has more. The guard are "
        "the criteria: a filled point meets all of them at its checkpoint, an open one does not and shows no more than "
        "that layers differ."
    ),
    "shares_by_category": (
        "A bar says where the difference between a category's texts and others comes from in the best latent of a "
        "late layer: it was in the stream after the worst middle layer already, or attention or MLPs behind that layer "
        "added it. Bars left of zero work against the latent. Nothing here says that a category faded and came back, "
        "and a share is no proof of need: the table reactivation_mechanism has the ablation and its control for that."
    ),
    "sae_quality": (
        "If the SAEs of some step or layer fail, a category may seem to vanish there although the model still has it. "
        "Compare dips above with peaks here: unexplained variance (FVU, 0 is perfect) and dead latents, which leave "
        "fewer to choose from. Untrained networks can be reconstructed well too: a low FVU is no sign of emergence."
    ),
    "latents_found_again": (
        "An SAE misses most of what another seed finds of the very same activations: the dashed line is that ceiling. "
        "Only the ratio to it says what share of the latents lasts from one checkpoint to the next; survival is the "
        "product of these ratios. The dotted line shares its random start with the checkpoint before: what it has "
        "above the solid one is inertia of the SAE, not identity in the model."
    ),
    "checkpoint_likeness": (
        "Every cell compares the weights of two checkpoints: dark is alike, pale is unrelated. A clean training run is "
        "dark along the diagonal and fades away from it. A dark cell far from the diagonal is a checkpoint that was "
        "published twice; a pale row is one of another run. Crossed ones are left out of every curve of this page."
    ),
}
