"""The statements of a study: one row each, with passed and failed controls and the grade."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, claims_table
from emergence_assets.emergence.claims.grading import Control
from emergence_assets.emergence.claims.of_lineage import claims_of_lineage
from emergence_assets.emergence.claims.of_scale import claims_of_scale
from emergence_assets.emergence.claims.of_space import claims_of_depth, claims_of_reactivation
from emergence_assets.emergence.claims.of_time import claims_of_time
from emergence_assets.emergence.claims.of_use import claims_of_use


def claims(
    evidence: Mapping[str, pl.DataFrame], level: str, surface_form_confounds: Mapping[tuple[str, str], bool | None]
) -> pl.DataFrame:
    """Make every statement of a study; see `CLAIMS`.

    Args:
        evidence: source tables of one study by name, see `spec.EVIDENCE`.
        level: the primary label level.
        surface_form_confounds: (level, category) to whether its texts share a wording or a length, None if that is not
            known. Such a surface form has latents of its own in an untrained network
            (`features/probe_quality/categories.py`).
    """
    left_out = _left_out(evidence["checkpoint_registry"])
    of_time = claims_of_time(
        evidence["emergence_over_time"],
        evidence["category_controls"],
        evidence["category_presence"],
        evidence["model_seeds"],
        left_out,
    )
    of_time = [_with_wording(claim, surface_form_confounds) for claim in of_time]
    others = [
        *claims_of_use(evidence["feature_use"], of_time, left_out),
        *claims_of_depth(evidence["emergence_over_space"]),
        *claims_of_reactivation(evidence["reactivation"], evidence["reactivation_mechanism"], level),
        *claims_of_scale(evidence["emergence_over_scale"], level),
        *claims_of_lineage(evidence["lineage_stability"]),
    ]
    every = [*of_time, *(_with_wording(claim, surface_form_confounds) for claim in others)]
    made_here = set(evidence["checkpoint_registry"].filter("made_here")["model"])
    return claims_table([_with_step_0(claim, made_here) for claim in every])


def _with_wording(claim: Claim, surface_form_confounds: Mapping[tuple[str, str], bool | None]) -> Claim:
    """Add the control `wording`: a surface-form confound rejects a category, and keeps a mean from grade A."""
    if claim.category_level is None:
        return claim
    of_level = {
        name: is_one for (level, name), is_one in surface_form_confounds.items() if level == claim.category_level
    }
    found = {of_level.get(claim.category, False)} if claim.category else set(of_level.values())
    passed = False if True in found else None if None in found else True
    return replace(claim, controls=(*claim.controls, Control("wording", passed, must=claim.category is not None)))


def _with_step_0(claim: Claim, made_here: Collection[str]) -> Claim:
    """Add the control `step0_made_here` to statements about models whose step 0 was made by the study.

    It fails: the weights are not those from which the training began, and a rise may be one over another
    initialisation. It keeps a statement from grade A. A statement about all models has it if any model has.
    """
    if not made_here or (claim.model is not None and claim.model not in made_here):
        return claim
    return replace(claim, controls=(*claim.controls, Control("step0_made_here", False, must=False)))


def _left_out(registry: pl.DataFrame) -> Mapping[str, int]:
    """Count per model the checkpoints with a status other than `ok`: left out, or kept although a check failed."""
    doubtful = registry.filter(pl.col("status") != "ok").group_by("model", maintain_order=True).len()
    return dict(doubtful.iter_rows())
