"""A small run of the matching benchmark: planted partners are found, untrained dictionaries are not."""

from benchmarks.latent_matching import planted_matches, ratio_to_ceilings, untrained_acceptance


def test_planted_partners_are_found_and_hardly_anyone_else() -> None:
    found = planted_matches(noise=0.3, n_draws=2)
    assert float(found["recall"]) > 0.95
    assert float(found["false share of matches"]) < 0.03


def test_the_rotated_null_alone_accepts_untrained_dictionaries() -> None:
    accepted = untrained_acceptance(power=1.0, n_draws=3)
    assert float(accepted["above the rotated null"]) > 0.1
    assert float(accepted["above both nulls"]) < 0.03


def test_the_ceiling_of_the_target_recovers_the_persistence() -> None:
    for before, after in ((0.3, 0.6), (0.6, 0.3)):
        found = ratio_to_ceilings(before, after)
        assert abs(float(found["over the target's"]) - 0.8) < 0.03
        assert abs(float(found["over the source's"]) - 0.8) > 0.2
