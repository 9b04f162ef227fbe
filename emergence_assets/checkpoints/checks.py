"""Checks of training runs and checkpoints."""

from resources.tables.check import Check, Condition, between

TRAINING_CHECKS = (
    Check(
        "training_lowers_the_loss",
        "The validation loss at the last checkpoint is below that of the untrained model.",
        (Condition("ordered", ("final_validation_loss", "initial_validation_loss")),),
    ),
)
CHECKPOINT_CHECKS = (
    Check(
        "checkpoint_is_what_it_claims_to_be",
        "The checkpoint passed all identity rules, or the study file lists it under `admit`.",
        (Condition("one_of", ("status",), values=("ok", "admitted")),),
    ),
    Check(
        "checkpoint_has_parameters",
        "There are weights outside of the embeddings.",
        (between("n_params_nonemb", minimum=1), between("weights_bytes", minimum=1)),
    ),
)


def _rule(name: str, description: str) -> Check:
    # Not blocking: a step that fails is left out of the checkpoint timeline, and the other steps are used.
    return Check(name, description, (Condition("one_of", (name,), values=(True,)),), blocking=False)


REGISTRY_CHECKS = (
    Check("keys_are_unique", "Every step has one row.", (Condition("unique", ("model", "step")),)),
    _rule("weights_are_unique", "No two steps share weights: a repeated upload would look like a flat curve."),
    _rule(
        "step_0_is_untrained",
        "Step 0 predicts no better than chance: its loss is near the logarithm of the vocabulary size.",
    ),
    _rule("steps_lie_on_one_trajectory", "The weights of a step lie between those of its neighbours in time."),
    _rule("architecture_is_constant", "All steps have the same layers, width and number of parameters."),
    _rule("files_are_whole", "All files exist, are undamaged and safe to load, and hold finite weights."),
    _rule("model_is_supported", "The model has one residual stream, which its blocks write in order."),
    _rule("loss_falls", "The loss on the fixed text does not rise by more than 0.3 nats over an earlier step."),
)
