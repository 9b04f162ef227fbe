"""Claims about activation files, on a frame with a row per cell."""

from resources.tables.check import Check, Condition, between

ACTIVATION_CHECKS = (
    Check(
        "activations_are_finite",
        "No value is NaN or infinite.",
        (between("nan_count", 0, 0), between("inf_count", 0, 0)),
    ),
    Check(
        "shapes_are_as_declared",
        "As wide as the study says, with the rows and probe texts of the shared token file.",
        (
            Condition("equal", ("d_model", "expected_d_model")),
            Condition("equal", ("n_rows", "expected_n_rows")),
            Condition("equal", ("n_probes", "expected_n_probes")),
        ),
    ),
    Check(
        "tokens_are_the_shared_ones",
        "The tokens are those of the token file that all layers of all checkpoints share: rows may be compared.",
        (Condition("equal", ("tokens_fingerprint", "expected_tokens")),),
    ),
    Check(
        "activations_vary",
        "The residual stream differs between texts: a constant one would come from a broken hook or read-out.",
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
        "At most a quarter of the first rows repeats an earlier one; more comes from a hook that is stuck.",
        (between("repeated_share", 0, 0.25),),
    ),
    Check(
        "norms_go_along_with_their_neighbours",
        "The norm is not three times off the norms at both neighbouring steps, nor at both neighbouring layers.",
        # Half a decade; in studies that are sound spikes are below 0.1.
        (between("step_jump", 0, 0.5), between("layer_jump", 0, 0.5)),
        blocking=False,
    ),
)
