import numpy as np
import pytest
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PixelEncoder, tiny, unit, z_of

from dcsh_pg.errors import UsageError
from dcsh_pg.methods import lsh


def test_z_is_the_side_of_random_planes_through_the_mean():
    images = tiny()
    normals = np.random.default_rng(4).standard_normal((16, 48))
    features = unit(images)
    z = z_of(fit(lsh, images, PixelEncoder(), bits=16, seed=4), images)
    assert np.allclose(z, (features - features.mean(axis=0)) @ normals.T, atol=1e-5)
    assert np.allclose(z.mean(axis=0), 0, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_bits_differ_as_often_as_the_angle_says(seed):
    """Charikar: P[bits differ] = angle / pi."""
    images = tiny(20)
    planes = fit(lsh, tiny(1100), PixelEncoder(), bits=1024, seed=seed)
    bits = z_of(planes, images) >= 0
    centred = unit(images) - unit(tiny(1100)).mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    angles = np.arccos(np.clip(centred @ centred.T, -1, 1))
    differing = (bits[:, None] != bits).mean(axis=2)
    assert np.abs(differing - angles / np.pi).max() < 6 * 0.5 / np.sqrt(1024)


def test_order_of_the_training_images_does_not_matter():
    images = tiny()
    mixed = images[np.random.default_rng(0).permutation(len(images))]
    one, other = (fit(lsh, given, PixelEncoder(), bits=16) for given in (images, mixed))
    assert np.allclose(z_of(one, images), z_of(other, images), atol=1e-6)


def test_bits_may_be_more_than_features():
    images = tiny(100)
    assert z_of(fit(lsh, images, PixelEncoder(), bits=64), images).shape == (100, 64)
    with pytest.raises(UsageError, match="20 bits"):
        fit(lsh, images, PixelEncoder(), bits=20)
