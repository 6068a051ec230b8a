import torch
from torch import nn

from dcsh_pg.learning.optimizer import adam


def test_adam_is_fused_on_cuda_alone_and_steps_like_the_plain_one():
    fused, plain = nn.Linear(4, 2), nn.Linear(4, 2)
    plain.load_state_dict(fused.state_dict())
    inputs = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    for layer, device, wanted in ((fused, "cuda", True), (plain, "cpu", False)):
        optimizer = adam([{"params": layer.parameters(), "lr": 0.1}], torch.device(device))
        assert optimizer.defaults["fused"] is wanted
        for _ in range(3):
            optimizer.zero_grad()
            layer(inputs).square().sum().backward()
            optimizer.step()
    assert torch.allclose(fused.weight, plain.weight, atol=1e-6)
