import numpy as np
import pytest
import torch
from torch.nn import functional

from dcsh_pg.learning.data.features import encoder_digest, extract
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.learning.training.part_similarity import PartEncoder, part_vectors
from dcsh_pg.learning.training.run import Run

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder("small").eval()


@torch.no_grad()
def directly(encoder, images, parts):
    """Part vectors by the formula, position by position: [image][part]."""
    prepared = Preprocess(encoder.input_size, encoder.mean, encoder.std)(torch.from_numpy(images))
    found = []
    for maps in encoder.maps(prepared):
        vectors = []
        for group in maps.chunk(parts):
            channels, height, width = group.shape
            weights = {
                (y, x): group[:, y, x].double().mean().exp().item()
                for y in range(height)
                for x in range(width)
            }
            seen = torch.zeros(channels, dtype=torch.float64)
            for (y, x), weight in weights.items():
                seen += weight / sum(weights.values()) * group[:, y, x]
            vectors.append(seen / seen.norm())
        found.append(vectors)
    return found


def test_inner_product_is_the_mean_cosine_of_like_parts(encoder):
    features = torch.from_numpy(extract(IMAGES, encoder)[:, 0])
    vectors = part_vectors(IMAGES, encoder, features, 4, Run())
    expected = directly(encoder, IMAGES, 4)
    for a in range(len(IMAGES)):
        for b in range(len(IMAGES)):
            cosines = [(p @ q).item() for p, q in zip(expected[a], expected[b], strict=True)]
            assert (vectors[a] @ vectors[b]).item() == pytest.approx(sum(cosines) / 4, abs=1e-5)


def test_without_maps_parts_are_groups_of_the_features():
    gist = Encoder("gist")
    features = torch.rand(5, gist.dim, generator=torch.Generator().manual_seed(0))
    vectors = part_vectors(IMAGES, gist, features, 4, Run())
    groups = [functional.normalize(group, dim=1) for group in features.chunk(4, dim=1)]
    expected = torch.stack([group @ group.T for group in groups]).mean(dim=0)
    assert torch.allclose(vectors @ vectors.T, expected, atol=1e-6)


def test_cache_keeps_parts_apart_from_features_and_from_other_parts(encoder, tmp_path):
    features = torch.from_numpy(extract(IMAGES, encoder, cache=tmp_path)[:, 0])
    wanted = {parts: part_vectors(IMAGES, encoder, features, parts, Run()) for parts in (2, 3)}
    for _ in range(2):
        for parts, vectors in wanted.items():
            got = part_vectors(IMAGES, encoder, features, parts, Run(cache=tmp_path))
            assert torch.allclose(got, vectors, atol=1e-6)
    assert encoder_digest(PartEncoder(encoder, 2)) != encoder_digest(PartEncoder(encoder, 3))
