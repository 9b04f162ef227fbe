"""Claims about training runs and checkpoints."""

from resources.expectations import Check, Condition

TRAINING_CHECKS = (
    Check(
        "training_lowers_the_loss",
        "The validation loss at the last checkpoint is below that of the untrained model.",
        (Condition("ordered", ("final_validation_loss", "initial_validation_loss")),),
    ),
)
CHECKPOINT_CHECKS = (
    Check(
        "weights_are_unique",
        "No two steps of a model share their weights: a repeated upload would be read as a flat curve.",
        (Condition("unique", ("weights_sha256",)),),
    ),
    Check(
        "architecture_is_constant",
        "Every checkpoint has the layers, width and parameters of the others.",
        (
            Condition("equal", ("n_layers", "first_n_layers")),
            Condition("equal", ("d_model", "first_d_model")),
            Condition("equal", ("n_params", "first_n_params")),
        ),
    ),
)
