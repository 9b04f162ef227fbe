"""Which results are tables, and what their columns and keys are. Tables are declared by the stages."""

from resources.tables import Table


def table_of(asset: str) -> Table | None:
    """Declaration of the table that an asset holds; None where it holds none."""
    from emergence_assets.checkpoints.schema import REGISTRY
    from emergence_assets.emergence import tables
    from emergence_assets.features.tables import LATENT_STATS

    if asset == REGISTRY.name:
        return REGISTRY
    if asset == LATENT_STATS.name:
        return LATENT_STATS
    found = getattr(tables, asset.upper(), None)
    return found if isinstance(found, Table) else None
