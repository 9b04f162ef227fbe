"""Seeds of dictionaries that are compared with the SAEs of a study."""

from hashlib import sha256


def derived_seed(*names: object) -> int:
    """Return a seed of 31 bits that depends on the names alone.

    Seeds of SAEs are small numbers, so that none is shared.

    Args:
        names: what is drawn, such as a control, the seed of the statistics, a layer and the number of the draw.
    """
    return int.from_bytes(sha256("/".join(map(str, names)).encode()).digest()[:4]) >> 1
