"""Soft pseudo-labels: a deep auto-encoder whose code is binary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.learning.heads.mlp import linear_layers
from dcsh_pg.learning.training import schedule
from dcsh_pg.learning.training.optimizer import adam
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.progress import SILENT, Progress

BINARY, DECORRELATED = 0.1, 1.0
"""Weights of two terms of the loss; see ``fit_autoencoder``."""
LEARNING_RATE = 1e-3


class AutoEncoder(nn.Module):
    """Features (N, dim) -> u (N, latent) -> tanh(g u) -> features again; ReLU between Linears.

    Attributes:
        encode: features -> latent vectors u.
        decode: relaxed labels -> features.
    """

    def __init__(self, dim: int, latent: int, *, hidden: Sequence[int] = (512, 256)):
        super().__init__()
        widths = [dim, *hidden, latent]
        self.encode = linear_layers(widths)
        self.decode = linear_layers(widths[::-1])


def fit_autoencoder(
    features: Tensor,
    *,
    latent: int,
    epochs: int,
    batch_size: int,
    seed: int,
    progress: Progress = SILENT,
) -> tuple[Tensor, Tensor]:
    """Trains an auto-encoder on features (N, V, D) of V views of N images, on their device.

    Its input f is the mean of an image's unit features, centred over the images and scaled to mean
    variance 1.  With u = encode(f), y~ = tanh(g u), g = 1, 2, ... 10 in equal stages, and B images
    in a step, Adam minimises

        mean (f - decode(y~))^2  +  0.1 mean (|y~| - 1)^2  +  ||Y~^T Y~ / B - I||_F^2 / latent^2

    whose last term decorrelates the labels.

    Returns:
        The soft labels y = sign(u), -1 and +1 with sign(0) = +1, and u; both float32 (N, latent).
    """
    inputs = functional.normalize(features, dim=2).mean(dim=1)
    inputs = inputs - inputs.mean(dim=0)
    inputs = inputs / inputs.square().mean().sqrt().clamp(min=1e-12)
    with seeded(seed):
        network = AutoEncoder(inputs.shape[1], latent).to(inputs.device)
    optimizer = adam([{"params": network.parameters(), "lr": LEARNING_RATE}], inputs.device)
    generator = torch.Generator().manual_seed(seed)
    progress.start("auto-encoder", epochs * len(inputs))
    for epoch in range(epochs):
        sharpness = schedule.beta(epoch, epochs)
        for rows in torch.randperm(len(inputs), generator=generator).split(batch_size):
            batch = inputs[rows.to(inputs.device)]
            relaxed = torch.tanh(sharpness * network.encode(batch))
            loss = autoencoder_loss(batch, relaxed, network.decode(relaxed))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            progress.advance(len(rows))
    with torch.no_grad():
        latents = network.encode(inputs)
    return torch.where(latents >= 0, 1.0, -1.0), latents


def autoencoder_loss(inputs: Tensor, relaxed: Tensor, outputs: Tensor) -> Tensor:
    """The weighted sum of three terms that ``fit_autoencoder`` minimises."""
    latent = relaxed.shape[1]
    correlation = relaxed.T @ relaxed / len(relaxed)
    identity = torch.eye(latent, device=relaxed.device)
    return (
        functional.mse_loss(outputs, inputs)
        + BINARY * (relaxed.abs() - 1).square().mean()
        + DECORRELATED * (correlation - identity).square().sum() / latent**2
    )
