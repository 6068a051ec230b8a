import numpy as np
import pytest
import torch

from dcsh_pg.learning.training.autoencoder import autoencoder_loss, fit_autoencoder


def blobs(kinds=6, each=20, dim=40, views=2, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(kinds, 1, dim)).repeat(each, axis=0)
    seen = centres + 0.3 * random.normal(size=(kinds * each, views, dim))
    return torch.from_numpy(seen).float() + 2, torch.arange(kinds).repeat_interleave(each)


def fit(features, seed=0, epochs=30):
    return fit_autoencoder(features, latent=16, epochs=epochs, batch_size=32, seed=seed)


def test_labels_tell_the_kinds_apart_and_use_every_bit():
    features, kinds = blobs()
    labels, latents = fit(features)
    assert torch.equal(labels, torch.where(latents >= 0, 1.0, -1.0))
    agreement = labels @ labels.T / 16
    alike = kinds[:, None] == kinds
    assert agreement[alike].mean() > agreement[~alike].mean() + 0.5
    assert (labels.mean(dim=0).abs() < 0.98).all()


def test_seed_decides_and_leaves_the_callers_randomness_alone():
    features, _ = blobs()
    torch.manual_seed(7)
    wanted = torch.rand(1)
    torch.manual_seed(7)
    first = fit(features, epochs=3)
    assert torch.rand(1) == wanted
    again, other = fit(features, epochs=3), fit(features, seed=1, epochs=3)
    assert torch.equal(first[1], again[1]) and not torch.equal(first[1], other[1])


def test_loss_is_the_formula():
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = torch.randn(2, 5, 7, generator=generator)
    relaxed = torch.tanh(torch.randn(5, 3, generator=generator))
    reconstruction = sum((a - b) ** 2 for a, b in zip(inputs.ravel(), outputs.ravel(), strict=True))
    binary = sum((abs(y) - 1) ** 2 for y in relaxed.ravel()) / 15
    correlated = sum(
        (sum(relaxed[n, i] * relaxed[n, j] for n in range(5)) / 5 - float(i == j)) ** 2
        for i in range(3)
        for j in range(3)
    )
    expected = reconstruction / 35 + 0.1 * binary + correlated / 9
    loss = autoencoder_loss(inputs, relaxed, outputs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
