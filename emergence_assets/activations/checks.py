"""Claims about activation files, on a frame with a row per cell."""

from resources.expectations import Check, Condition, between

ACTIVATION_CHECKS = (
    Check(
        "activations_are_finite",
        "No value is NaN or infinite.",
        (between("nan_count", 0, 0), between("inf_count", 0, 0)),
    ),
    Check(
        "shapes_are_as_declared",
        "As wide as the study says, with as many rows and probe texts in every cell of the run.",
        (
            Condition("equal", ("d_model", "expected_d_model")),
            Condition("equal", ("n_rows", "expected_n_rows")),
            Condition("equal", ("n_probes", "expected_n_probes")),
        ),
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
)
