"""Tables behind each figure of the report. No drawing library is imported here, because an audit needs none."""

FIGURE_TABLES: dict[str, tuple[str, ...]] = {
    "presence_over_time": ("category_presence",),
    "controls_at_last_step": ("category_controls",),
    "gain_by_layer": ("category_presence",),
    "presence_over_size": ("emergence_over_scale",),
    "utility_by_compute": ("cost_utility",),
    "share_emerged": ("emergence_hazard", "category_presence"),
    "half_steps_by_category": ("emergence_over_time", "claims"),
    "gain_by_category": ("category_presence",),
    "profiles_by_depth": ("reactivation", "emergence_over_space"),
    "index_over_steps": ("reactivation",),
    "use_by_category": ("feature_use", "claims"),
    "shares_by_category": ("reactivation_mechanism",),
    "sae_quality": ("sae_metrics", "category_presence"),
    "latents_found_again": ("lineage_stability",),
    "checkpoint_likeness": ("checkpoint_registry",),
}
