"""Kind of a model, by the class that its config names. Without torch."""

_ENCODERS = ("WithLMHeadModel",)
"""Endings of classes of masked language models that end like language models: XLM, FlauBERT."""
_LANGUAGE_MODELS = (
    *("ForCausalLM", "LMHeadModel", "ModelWithLMHead", "GenerationDecoder"),
    "ForConditionalGeneration",  # a language model that also reads images or sounds; encoder-decoders are refused
)


def is_language_model(architecture: str | None) -> bool:
    """Return whether a class predicts the next token; models of all other classes are encoders."""
    name = architecture or ""
    return name.endswith(_LANGUAGE_MODELS) and not name.endswith(_ENCODERS)
