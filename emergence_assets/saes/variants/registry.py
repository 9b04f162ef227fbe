"""SAE variants by their names in study files."""

from collections.abc import Mapping

from emergence_assets.saes.variants.batchtopk import BatchTopK
from emergence_assets.saes.variants.jumprelu import JumpReLU
from emergence_assets.saes.variants.topk import TopK
from emergence_assets.saes.variants.variant import Variant
from emergence_assets.study.sae import SAESettings, VariantName

VARIANTS: Mapping[VariantName, type[Variant]] = {
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpReLU,
}


def variant_of(settings: SAESettings) -> Variant:
    """Make the variant of a study, at its sparsity."""
    return VARIANTS[settings.variant](settings.k)
