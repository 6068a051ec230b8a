import numpy as np
import pytest
import torch
from PIL import Image

from dcsh_pg.learning.model.preprocess import Preprocess


def test_resize_agrees_with_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (150, 97, 3), np.uint8)
    preprocess = Preprocess(64, mean=(0, 0, 0), std=(1, 1, 1))
    got = preprocess.scale(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0) * 255
    wanted = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(got.numpy() - wanted).max() <= 1.01


def test_standardises_each_band():
    preprocess = Preprocess(8, mean=(0.5, 0.0), std=(0.5, 0.25))
    images = torch.full((1, 20, 12, 2), 255, dtype=torch.uint8)
    standardised = preprocess(images)
    assert standardised.shape == (1, 2, 8, 8)
    assert standardised[0, :, 4, 4].tolist() == pytest.approx([1.0, 4.0])
