"""Checks of activation files, on a frame with one row per cell."""

from resources.tables.check import Check, Condition, between

ACTIVATION_CHECKS = (
    Check(
        "activations_are_finite",
        "No value is NaN or infinite.",
        (between("nan_count", 0, 0), between("inf_count", 0, 0)),
    ),
    Check(
        "shapes_are_as_declared",
        "The width is that of the study; the numbers of rows and probe texts are those of the shared token file.",
        (
            Condition("equal", ("d_model", "expected_d_model")),
            Condition("equal", ("n_rows", "expected_n_rows")),
            Condition("equal", ("n_probes", "expected_n_probes")),
        ),
    ),
    Check(
        "tokens_are_the_shared_ones",
        "The tokens are those of the token file shared by all layers of all checkpoints, so that rows are comparable.",
        (Condition("equal", ("tokens_fingerprint", "expected_tokens")),),
    ),
    Check(
        "activations_vary",
        "The residual stream differs between texts; a constant stream means a broken hook or read-out.",
        (between("variance", 0, strict=True),),
    ),
    Check(
        "no_dimension_is_constant",
        "No dimension of the residual stream has the same value in all rows.",
        (between("constant_dimensions", 0, 0),),
        blocking=False,
    ),
    Check(
        "rows_differ",
        "At most a quarter of the first rows repeats an earlier row; more means a stuck hook.",
        (between("repeated_share", 0, 0.25),),
    ),
    Check(
        "norms_go_along_with_their_neighbours",
        "The norm is not 3.2 times larger, or smaller, than at both neighbouring steps or both neighbouring layers.",
        # 0.5 log10 units; in sound studies spikes are below 0.1.
        (between("step_jump", 0, 0.5), between("layer_jump", 0, 0.5)),
        blocking=False,
    ),
)
