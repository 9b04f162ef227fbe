"""Kind of a model, by the class that its config names. Without torch."""


def is_language_model(architecture: str | None) -> bool:
    """Return whether a class predicts the next token; models of all other classes are encoders."""
    return (architecture or "").endswith(("ForCausalLM", "LMHeadModel"))
