"""Charts of a report in their order, with the caption of each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from emergence_assets.report.charts.checkpoint_likeness import cosine_heat_map, models_worth_showing
from emergence_assets.report.charts.controls_at_last_step import controls_at_last_step
from emergence_assets.report.charts.gains import gain_by_category, gain_by_layer
from emergence_assets.report.charts.half_steps_by_category import half_steps_by_category
from emergence_assets.report.charts.latents_found_again import latents_found_again
from emergence_assets.report.charts.presence_over_size import presence_over_size
from emergence_assets.report.charts.presence_over_time import listed, presence_over_time
from emergence_assets.report.charts.profiles_by_depth import index_over_steps, profiles_by_depth
from emergence_assets.report.charts.readings import ReportTables, models_by_size
from emergence_assets.report.charts.sae_quality import sae_quality
from emergence_assets.report.charts.share_emerged import share_emerged
from emergence_assets.report.charts.shares_by_category import shares_by_category
from emergence_assets.report.charts.theme import NARROW, WIDE, Chart
from emergence_assets.report.charts.use_by_category import use_by_category
from emergence_assets.report.charts.utility_by_compute import utility_by_compute


@dataclass(frozen=True)
class Figure:
    """Vega-Lite specifications of a chart in both widths, with its caption."""

    name: str
    """Stem of its file and anchor in the page."""
    caption: str
    """How to read the chart, and its control."""
    wide: dict[str, Any]
    """For a desk, a talk, a PNG."""
    narrow: dict[str, Any]
    """For a phone."""


def draw_figures(tables: ReportTables) -> list[Figure]:
    """Draw all figures for which there is data, in the order of the page."""
    level, domains = tables.level, tables.domains
    presence, reactivation = tables.category_presence, tables.reactivation
    models = models_by_size(presence)
    if not models:
        return []
    largest = models[-1]
    alike = models_worth_showing(tables.checkpoint_registry)
    with_saes = [model for model in models if model in tables.sae_metrics["model"].unique()]
    charts: dict[str, Callable[[int], Chart | None]] = {
        "presence_over_time": partial(presence_over_time, presence, level),
        "controls_at_last_step": partial(controls_at_last_step, tables.category_controls, level),
        "gain_by_layer": partial(gain_by_layer, presence, level),
        "presence_over_size": partial(presence_over_size, tables.emergence_over_scale, level),
        "utility_by_compute": partial(utility_by_compute, tables.cost_utility, level),
        "share_emerged": partial(share_emerged, tables.emergence_hazard, level, models),
        "half_steps_by_category": partial(half_steps_by_category, tables.emergence_over_time, level, largest, domains),
        "gain_by_category": partial(gain_by_category, presence, level, largest),
        "profiles_by_depth": partial(profiles_by_depth, reactivation, tables.emergence_over_space, level, largest),
        "index_over_steps": partial(index_over_steps, reactivation, level, largest),
        "use_by_category": partial(use_by_category, tables.feature_use, tables.claims, level, largest),
        "shares_by_category": partial(shares_by_category, tables.reactivation_mechanism, level, largest),
        "sae_quality": partial(sae_quality, tables.sae_metrics, with_saes),
        "latents_found_again": partial(latents_found_again, tables.lineage_stability, largest),
        "checkpoint_likeness": partial(cosine_heat_map, tables.checkpoint_registry, alike),
    }
    drawn = ((name, draw(WIDE), draw(NARROW)) for name, draw in charts.items())
    begun = set(presence.filter(step=0)["model"].unique())
    late = [model for model in models if model not in begun]
    return [
        Figure(name, _caption(name, late, with_step_0=bool(begun)), wide.to_dict(), narrow.to_dict())
        for name, wide, narrow in drawn
        if wide and narrow
    ]


def _caption(name: str, late: list[str], with_step_0: bool) -> str:
    """Return the caption of a figure, for models of which some may have no untrained checkpoint."""
    untrained = [_UNTRAINED[name]] if name in _UNTRAINED and with_step_0 else []
    if name in _UNTRAINED and late:
        untrained.append(f"No part of the height is known to be gained in training, without step 0: {listed(late)}.")
    return " ".join([_CAPTIONS[name], *untrained])


_UNTRAINED = {
    "presence_over_time": (
        "The dotted line of the same colour is the AUROC of the untrained network; only the height above it was "
        "gained. If the dense probe is high at step 0, the information was present before training."
    ),
    "presence_over_size": "The step 0 points show the effect of size before training.",
}
"""Sentences of captions about untrained networks."""


_CAPTIONS = {
    "presence_over_time": (
        "A solid line rises where single latents separate the categories better as training goes on. Shuffled labels "
        "should stay at 0.5; if they rise too, the cause is the choice of the best of many latents. Dashed: a linear "
        "probe on the whole read-out vector. Dash-dotted: a bag of words, that is, the words of the text without any "
        "model."
    ),
    "controls_at_last_step": (
        "Each row removes one possible cause of the result. The further a point lies left of the blue line, the less "
        "that control explains. 0.5 is chance. A point right of the blue line means that the control separates the "
        "categories better than the best latent; for the dense probe and the bag of words this is common, because they"
        " use the whole read-out vector or all words."
    ),
    "gain_by_layer": (
        "Each cell is one layer at one checkpoint: blue where its best latents have a higher AUROC than those of the "
        "untrained network in the same layer, white where they are equal, brown where they have a lower one. All "
        "panels share one colour scale. The control is step 0: every cell is a difference from it. Neighbouring cells "
        "also differ by chance, so a single paler cell is no evidence of a dip."
    ),
    "presence_over_size": (
        "Further right is a larger model, read at its best layer, which is chosen on the other half of the texts. Only"
        " the height above random directions is a merit of trained dictionaries. Shuffled labels show the effect of "
        "choosing a latent. Each point is one training run, and its bar covers the choice of texts and SAE seeds only, "
        "so the bars understate the uncertainty between sizes."
    ),
    "share_emerged": (
        "A line rises where categories reach half of their rise, and ends at the share that has emerged by the last "
        "checkpoint. Categories that were present before training are not counted. A category counts as emerged if the"
        " claim that it emerges has grade A or B. Dashed: shuffled labels, to which only the criteria of the time "
        "table are applied; this line should stay near 0."
    ),
    "utility_by_compute": (
        "Further right is more training compute. Utility is the share of the possible gain over the untrained network "
        "that the best single latents have reached; it is 0 before training. Where a curve is flat, more compute "
        "brings no more utility. The controls are step 0, and the choice of the layer on texts that are not scored. "
        "Each curve is one training run, and another family may lie elsewhere: compare points within the figure only."
    ),
    "half_steps_by_category": (
        "Categories further down emerge later. The point is the half-rise step, the bar its 95 % interval, which is "
        "never narrower than the gap between two checkpoints. A category is drawn only if the claim that it emerges "
        "has grade A or B, and if the interval of its half-rise step is at most one decade wide."
    ),
    "gain_by_category": (
        "Each row is one category over training: blue is a gain over the untrained network, brown a loss. On the left "
        "is the whole gain, on the right what is left of it net of random directions. A dot marks a gain or loss whose"
        " 95 % interval excludes 0. Among many cells a few dots appear by chance, so look for rows in which they "
        "persist. The controls are step 0, and the choice of the layer on texts that are not scored."
    ),
    "profiles_by_depth": (
        "Left is the first layer, right the last. A category fades and returns if its solid line is lower in the "
        "shaded valley than on both sides. If random directions fall with it, that is geometry. If the dense probe "
        "falls too, the representation itself has less linear information there; if it does not, the fall is shown in "
        "the SAEs only. The chart shows the deepest falls of all categories, so it selects noise too: the word below a"
        " name is the result of the criteria."
    ),
    "index_over_steps": (
        "At 1 the valley has lost the whole gain of the lower peak, at 0 it has lost nothing, below 0 it has gained "
        "more. A filled point meets all criteria at its checkpoint. An open point does not, and is no evidence that a "
        "category fades and returns."
    ),
    "use_by_category": (
        "The best latent of a category is taken out of the residual stream at all positions of a text but the first. "
        "Right of 0 the model then predicts the category's own texts worse by more than other texts. The controls are "
        "other latents that remove as much from the category's texts, and the best latents of random encoders: a "
        "category's latent is used if its interval lies right of 0 and of both. A latent may be used without being "
        "needed at the read-out token, where it was chosen."
    ),
    "shares_by_category": (
        "A bar divides the difference between a category's texts and other texts, in the best latent of a late layer, "
        "into three parts: present in the residual stream after the weakest middle layer (trough layer), added after "
        "it by attention, and added after it by MLPs. Bars left of zero reduce the difference. The chart is no "
        "evidence that a category faded and returned, and a share is no causal effect: the table "
        "reactivation_mechanism has the ablation and its control."
    ),
    "sae_quality": (
        "If the SAEs of a step or layer are poor, a category may seem to vanish there although the model still "
        "represents it. Compare dips of AUROC with peaks of FVU (0 is perfect reconstruction) and of dead latents, "
        "which leave fewer latents to choose from. Activations of untrained networks may be reconstructed well too, so"
        " a low FVU is no evidence of emergence. Where the effective dimension of the rows is small, sparsity "
        "constrains little, and seeds may agree on few latents."
    ),
    "latents_found_again": (
        "Two SAE seeds find only a part of each other's latents in the same activations; the dashed line is this "
        "ceiling. The ratio to the ceiling estimates the share of latents that persist from one checkpoint to the "
        "next; survival is the product of these ratios. With one SAE seed there is neither. The dotted line compares "
        "SAEs with the same random start: its height above the solid line is inertia of the SAE, not identity in the "
        "model."
    ),
    "checkpoint_likeness": (
        "Every cell compares the weights of two checkpoints: dark is similar, pale is unrelated. A clean training run "
        "is dark along the diagonal and paler away from it. A dark cell far from the diagonal suggests a checkpoint "
        "that was published twice, a pale row a checkpoint of another run. Checkpoints with crossed cells are left out"
        " of every curve of this page."
    ),
}
