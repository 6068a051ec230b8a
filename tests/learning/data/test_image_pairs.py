import numpy as np
import pytest
import torch

from dcsh_pg.learning.data.augment import Augmentation
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.image_pairs import ImagePairs
from dcsh_pg.learning.model.preprocess import Preprocess

CPU = torch.device("cpu")
NEIGHBOURS = torch.tensor([[1, 2], [0, 2], [4, 5], [4, 5], [3, 5], [3, 4]])
FLAT = Augmentation(jitter_probability=0, grey_probability=0, blur_probability=0)


def noise(count=6, size=20):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def numbered(count=6):
    """Images of one level each: 10 times their number, which no crop or rotation changes."""
    return np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None] * 10, (count, 8, 8, 3)
    )


def pairs_of(images, *, augmentation=FLAT, device=CPU, **further):
    preprocess = Preprocess(16, (0.0,) * 3, (1.0,) * 3)
    return ImagePairs(images, preprocess, augmentation, device, **further)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(views):
    return (views.mean(dim=(1, 2, 3)) * 25.5).round().long()


def test_both_views_are_of_the_image_and_differ():
    source = pairs_of(noise(), augmentation=Augmentation())
    pairs = source.draw(torch.tensor([3, 1]), generator())
    assert pairs.first.shape == pairs.second.shape == (2, 3, 16, 16)
    assert not torch.equal(pairs.first, pairs.second)
    assert pairs.ignored is None
    drawn = pairs_of(numbered()).draw(torch.tensor([3, 1]), generator())
    assert numbers(drawn.first).tolist() == numbers(drawn.second).tolist() == [3, 1]


def test_plain_is_what_the_preprocessing_gives():
    source = pairs_of(noise())
    rows = torch.tensor([5, 0])
    assert torch.equal(source.plain(rows), source.preprocess(torch.from_numpy(noise()[[5, 0]])))


def test_views_come_in_the_memory_format_that_was_asked_for():
    source = pairs_of(noise(), augmentation=Augmentation(), memory_format=torch.channels_last)
    drawn = source.draw(torch.arange(4), generator())
    for views in (drawn.first, drawn.second, source.plain(torch.arange(4))):
        assert views.is_contiguous(memory_format=torch.channels_last)
    plain = pairs_of(noise(), augmentation=Augmentation()).draw(torch.arange(4), generator())
    assert torch.equal(drawn.first, plain.first)


def test_with_neighbours_the_partner_is_the_image_or_one_of_them_each_as_likely():
    source = pairs_of(numbered(), neighbours=NEIGHBOURS)
    drawn = source.draw(torch.full((600,), 2), generator())
    assert (numbers(drawn.first) == 2).all()
    counts = torch.bincount(numbers(drawn.second), minlength=6).tolist()
    assert counts[0] == counts[1] == counts[3] == 0
    assert all(150 < counts[image] < 250 for image in (2, 4, 5))


def test_views_of_neighbours_are_no_negatives():
    rows = torch.arange(6)
    drawn = pairs_of(numbered(), neighbours=NEIGHBOURS).draw(rows, generator())
    shown = torch.cat([rows, numbers(drawn.second)]).tolist()
    for i, a in enumerate(shown):
        for j, b in enumerate(shown):
            related = a == b or b in NEIGHBOURS[a] or a in NEIGHBOURS[b]
            assert drawn.ignored[i, j] == related


def test_features_and_images_take_neighbours_alike():
    features = torch.arange(6.0)[:, None, None]
    rows = torch.arange(6)
    of_features = FeaturePairs(features, NEIGHBOURS).draw(rows, generator())
    partners = of_features.second[:, 0].long()
    assert all(b == a or b in NEIGHBOURS[a] for a, b in enumerate(partners.tolist()))
    assert of_features.ignored.shape == (12, 12)


@pytest.mark.parametrize("neighbours", [None, NEIGHBOURS])
def test_nothing_is_read_back_from_the_device(neighbours):
    """PyTorch's meta device holds no values: whatever waited for one would raise."""
    source = pairs_of(
        noise(), augmentation=Augmentation(), device=torch.device("meta"), neighbours=neighbours
    )
    drawn = source.draw(torch.arange(4), generator())
    assert drawn.first.device.type == drawn.second.device.type == "meta"
    assert drawn.first.shape == (4, 3, 16, 16)
