import torch
from torch import nn

from dcsh_pg.learning.training.optimizer import adam


def test_adam_is_fused_and_steps_like_the_plain_one():
    fused, plain = nn.Linear(4, 2), nn.Linear(4, 2)
    plain.load_state_dict(fused.state_dict())
    inputs = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    ours = adam([{"params": fused.parameters(), "lr": 0.1}], torch.device("cpu"))
    assert ours.defaults["fused"]
    for layer, optimizer in ((fused, ours), (plain, torch.optim.Adam(plain.parameters(), lr=0.1))):
        for _ in range(3):
            optimizer.zero_grad()
            layer(inputs).square().sum().backward()
            optimizer.step()
    assert torch.allclose(fused.weight, plain.weight, atol=1e-6)
