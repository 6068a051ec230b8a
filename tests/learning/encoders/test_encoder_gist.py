import numpy as np
import pytest
import torch

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder, find, load_weights
from dcsh_pg.learning.encoders.gist import transfer_functions

SIZE, MARGIN = 256, 32


@pytest.fixture(scope="module")
def gist():
    return Encoder("gist").eval()


def features(gist, grey):
    """Grey images (N, 256, 256) in 0..1 -> energies (N, scale, orientation, column, row)."""
    images = torch.from_numpy(np.asarray(grey, np.float32))[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        return gist(images).numpy().reshape(-1, 4, 8, 4, 4)


def texture(seed, n=1):
    """Noise that is coarse here and fine there."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.fft2(rng.normal(size=(n, SIZE, SIZE)))
    radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    image = np.fft.ifft2(spectrum / (radius + 0.02)).real
    low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
    return (image - low) / (high - low)


def direct(grey):
    """The published algorithm, step by step with fast Fourier transforms: -> (4, 8, 4, 4)."""
    light = np.log(255 * (grey - grey.min()) / (grey.max() - grey.min()) + 1)
    light = np.pad(light, 5, mode="symmetric")
    cycles = np.fft.fftfreq(len(light)) * len(light)
    low_pass = np.exp(-(cycles[:, None] ** 2 + cycles**2) / (4 / np.sqrt(np.log(2))) ** 2)
    detail = light - np.fft.ifft2(np.fft.fft2(light) * low_pass).real
    deviation = np.sqrt(np.abs(np.fft.ifft2(np.fft.fft2(detail**2) * low_pass)))
    contrast = (detail / (0.2 + deviation))[5:-5, 5:-5]
    spectrum = np.fft.fft2(np.pad(contrast, MARGIN, mode="symmetric"))
    f = np.fft.fftfreq(SIZE + 2 * MARGIN)
    radius, angle = np.hypot(f[:, None], f), np.arctan2(f[:, None], np.tile(f, (len(f), 1)))
    energies = np.empty((4, 8, 4, 4))
    for scale in range(4):
        for orientation in range(8):
            turned = angle + np.pi / 8 * orientation
            turned = turned - 2 * np.pi * (turned > np.pi)
            transfer = np.exp(
                -10 * 0.35 * (radius / (0.3 / 1.85**scale) - 1) ** 2 - 2 * np.pi * turned**2
            )
            response = np.abs(np.fft.ifft2(spectrum * transfer))[MARGIN:-MARGIN, MARGIN:-MARGIN]
            energies[scale, orientation] = response.reshape(4, 64, 4, 64).mean(axis=(1, 3)).T
    return energies


def test_agrees_with_the_published_algorithm(gist):
    images = texture(0, 3)
    for found, image in zip(features(gist, images), images, strict=True):
        expected = direct(image)
        assert np.abs(found - expected).max() < 1e-3 * expected.mean()


@pytest.mark.parametrize("scale, orientation", [(0, 0), (1, 3), (2, 4), (2, 7), (3, 6)])
def test_grating_excites_its_own_scale_and_orientation(gist, scale, orientation):
    y, x = np.mgrid[:SIZE, :SIZE]
    angle, frequency = np.pi * orientation / 8, 0.3 / 1.85**scale
    wave = 0.5 + 0.1 * np.cos(2 * np.pi * frequency * (x * np.cos(angle) - y * np.sin(angle)))
    means = features(gist, wave[None])[0].mean(axis=(2, 3))
    assert np.unravel_index(means.argmax(), means.shape) == (scale, orientation)


def test_turning_the_image_turns_orientations_and_cells(gist):
    image = texture(1)[0]
    as_is, turned = features(gist, np.stack([image, np.rot90(image)]))
    cells = np.rot90(as_is.swapaxes(2, 3), axes=(2, 3)).swapaxes(2, 3)
    assert np.allclose(turned, np.roll(cells, 4, axis=1), rtol=0.02)


def test_constant_image_has_no_energy(gist):
    assert features(gist, np.full((1, SIZE, SIZE), 0.7)).max() < 1e-3


@pytest.mark.parametrize("tone", [0.0, 0.3, 1.0])
def test_rounding_is_no_contrast_and_a_step_of_eight_bits_is(gist, tone):
    image = np.full((1, SIZE, SIZE), tone)
    rounding = 1e-6 * np.random.default_rng(0).uniform(-1, 1, image.shape)
    assert not features(gist, image + rounding).any()
    image[0, 100:, 30:] += 1 / 255
    assert features(gist, image + rounding).mean() > 0.01


def test_light_and_contrast_do_not_count(gist):
    image = texture(2)[0]
    bright, dull = features(gist, np.stack([image, 0.3 + 0.4 * image]))
    assert np.allclose(bright, dull, atol=1e-5)


def test_energy_is_reported_by_cell(gist):
    image = np.full((SIZE, SIZE), 0.5)
    image[192:, :64] += 0.3 * np.random.default_rng(0).normal(size=(64, 64)).clip(-1, 1)
    cells = features(gist, image[None])[0].mean(axis=(0, 1))
    assert np.unravel_index(cells.argmax(), cells.shape) == (0, 3)  # column, row


def test_other_band_counts_are_averaged(gist):
    grey = torch.from_numpy(texture(3)[0].astype(np.float32))
    with torch.no_grad():
        one = Encoder("gist", bands=1)(grey[None, None])
        four = Encoder("gist", bands=4)(grey.expand(1, 4, -1, -1))
        assert torch.allclose(one, four, atol=1e-5)
        assert torch.allclose(one, gist(grey.expand(1, 3, -1, -1)), atol=1e-5)


def test_nothing_is_learned(gist):
    assert not find("gist").learned
    assert not gist.state_dict() and not list(gist.parameters())
    assert gist.mean == (0, 0, 0) and gist.std == (1, 1, 1)
    load_weights(gist, "none")
    for weights in ("imagenet", "file.pth"):
        with pytest.raises(UsageError, match="gist"):
            load_weights(gist, weights)


def test_filters_are_gabor_filters_of_unit_gain():
    peaks = transfer_functions().max(axis=(1, 2))
    assert (peaks > 0.99).all() and (peaks <= 1).all()
