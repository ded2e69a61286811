"""Networks with int8 layers and others: fused chains in pickles, and float layers that stay trainable."""

from __future__ import annotations

import io
import pickle
import re

import pytest
import torch
from networks import lenet
from torch import Tensor, nn

import jouleprune as jp


def convolutions() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.Flatten()
    )  # fmt: skip
    return pruned(model), torch.randn(2, 4, 9, 9)


class Body(nn.Module):
    """A chain of Linear layers that is not outermost, and an input that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 24))
        self.left, self.right = nn.Linear(24, 8), nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.left(x) * self.right(x)


def linears() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(6)
    return pruned(Body()), torch.randn(20, 24)


def pruned(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) < 0.4)
    return model.eval()


def handed(model: nn.Module) -> list[str]:
    """The calls between which bytes go, in the order of the code."""
    codes = [module.code for module in model.modules() if isinstance(module, torch.fx.GraphModule)]
    return [call for code in codes for call in re.findall(r"quantize_bytes\(|\.to_bytes\(|\.from_bytes\(", code)]


@pytest.mark.parametrize("dump", ["pickle", "torch.save"])
@pytest.mark.parametrize("network", [convolutions, linears])
def test_fused_chains_in_pickles(network, dump):
    model, x = network()
    chain = jp.convert(model, x, dtype="int8", force=True, fuse=True, calibration=[x])
    assert ".to_bytes(" in handed(chain)
    if dump == "pickle":
        again = pickle.loads(pickle.dumps(chain))
    else:
        file = io.BytesIO()
        torch.save(chain, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
    assert torch.equal(again(x), chain(x)) and handed(again) == handed(chain)
    assert [type(module).__name__ for module in again.modules()] == [
        type(module).__name__ for module in chain.modules()
    ]
    assert again.state_dict().keys() == chain.state_dict().keys() and jp.explain(again) == jp.explain(chain)
    if isinstance(model, nn.Sequential):
        assert len(again) == len(model) and again[0] is again.get_submodule("0")
    third = pickle.loads(pickle.dumps(again))
    assert torch.equal(third(x), chain(x)) and handed(third) == handed(chain)


def with_a_float_layer() -> tuple[nn.Module, Tensor]:
    """The first convolution stays float, the others are planned in int8."""
    model, x = lenet()
    plan = jp.plan(
        model.eval(), x, energy="40%", profile="generic-cpu", pattern="1x4", dtype="int8", ignored_layers=["0"]
    )
    jp.Pruner(model, x, plan=plan).prune_now()
    return jp.convert(model, x, plan=plan), x


def test_a_trainable_float_layer_before_int8_layers_runs_in_grad_mode():
    model, x = with_a_float_layer()
    assert type(model[0]) is nn.Conv2d and model[0].weight.requires_grad
    assert any("Int8" in type(module).__name__ for module in model)
    out = model(x)
    with torch.no_grad():
        assert torch.equal(model(x), out)
    with pytest.raises(RuntimeError, match="int8 has no derivative: int8 layers are for inference; train the float"):
        out.sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_float_layers_behind_int8_layers_train():
    torch.manual_seed(7)
    int8 = jp.nn.SparseLinear.from_dense(nn.Linear(8, 8), dtype="int8")
    model = nn.Sequential(int8, nn.ReLU(), nn.Linear(8, 2))
    model(torch.randn(4, 8)).sum().backward()
    assert model[2].weight.grad is not None


def test_bytes_between_layers_carry_the_refusal_on():
    """A float layer before a chain that hands bytes over must not be left without gradients in silence."""
    model, x = convolutions()
    chain = jp.convert(model, x, dtype="int8", force=True, fuse=True, calibration=[x])
    first = nn.Conv2d(4, 4, 1)
    with pytest.raises(RuntimeError, match="has no derivative"):
        chain(first(x)).sum().backward()
