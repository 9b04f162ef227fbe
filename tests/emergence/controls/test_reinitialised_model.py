"""Reinitialised weights keep mean and deviation of every parameter, and nothing else; embeddings stay on request."""

import torch
from torch import nn

from emergence_assets.emergence.controls.reinitialised_model import reinitialise


def model() -> nn.Module:
    torch.manual_seed(0)
    made = nn.ModuleDict({"embed": nn.Embedding(50, 40), "out": nn.Linear(40, 60), "norm": nn.LayerNorm(60)})
    with torch.no_grad():
        made["out"].weight.mul_(3).add_(0.5)
        made["embed"].weight.mul_(0.02)
    return made


def test_moments_stay_and_values_go() -> None:
    trained, redrawn = model(), model()
    reinitialise(redrawn, 7, keep_embedding=False)
    for name in ("embed.weight", "out.weight"):
        before, after = (dict(one.named_parameters())[name].detach() for one in (trained, redrawn))
        assert abs(float((after.mean() - before.mean()) / before.std())) < 0.1
        assert 0.9 < float(after.std() / before.std()) < 1.1
        assert abs(float(torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1])) < 0.1
    assert torch.equal(redrawn["norm"].weight, trained["norm"].weight)  # all ones: no deviation, nothing to draw


def test_embeddings_stay_and_the_rest_is_drawn_alike() -> None:
    trained, full, kept = model(), model(), model()
    reinitialise(full, 7, keep_embedding=False)
    reinitialise(kept, 7, keep_embedding=True)
    assert torch.equal(kept["embed"].weight, trained["embed"].weight)
    assert not torch.equal(full["embed"].weight, trained["embed"].weight)
    assert torch.equal(kept["out"].weight, full["out"].weight)
    other = model()
    reinitialise(other, 8, keep_embedding=False)
    assert not torch.equal(other["out"].weight, full["out"].weight)
