import pytest
import torch
from scipy.stats import kstest
from torch.nn import functional
from torchvision.transforms import RandomResizedCrop

from dcsh_pg.learning.data.augment import Augmentation

STILL = {"jitter_probability": 0, "grey_probability": 0, "blur_probability": 0}
WHOLE = {"crop_area": (1, 1), "crop_ratio": (1, 1)}


def images(count=4, bands=3, size=16):
    return torch.rand(count, bands, size, size, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(augmentation, batch, seed=0):
    return augmentation(batch, generator(seed))


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_views_keep_shape_and_range_and_follow_the_seed(bands):
    batch = images(bands=bands)
    view = draw(Augmentation(), batch)
    assert view.shape == batch.shape
    assert view.min() >= 0 and view.max() <= 1
    assert torch.equal(view, draw(Augmentation(), batch))
    assert not torch.equal(view, draw(Augmentation(), batch, seed=1))


def test_each_image_has_its_own_draw():
    same = images(1).expand(6, -1, -1, -1)
    views = draw(Augmentation(), same)
    assert all(not torch.equal(views[0], view) for view in views[1:])


def test_orientations_are_exact_and_all_eight_occur():
    image = images(1, size=5)
    every = [turned.rot90(k, (2, 3)) for turned in (image, image.flip(3)) for k in range(4)]
    views = draw(Augmentation(**STILL, **WHOLE), image.expand(200, -1, -1, -1))
    seen = set()
    for view in views:
        matches = [
            k for k, wanted in enumerate(every) if torch.allclose(view, wanted[0], atol=1e-5)
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert seen == set(range(8))


def test_without_rotations_only_the_mirror_image_occurs():
    image = images(1, size=5)
    views = draw(Augmentation(rotations=False, **STILL, **WHOLE), image.expand(50, -1, -1, -1))
    for view in views:
        assert any(torch.allclose(view, w[0], atol=1e-5) for w in (image, image.flip(3)))


def test_crops_are_distributed_as_torchvisions():
    """A crop that does not fit is drawn again, not squeezed."""
    augmentation = Augmentation()
    width, height = augmentation._draw_crop(4000, generator())
    torch.manual_seed(0)
    square = torch.zeros(3, 1000, 1000)
    wanted = torch.tensor(
        [
            RandomResizedCrop.get_params(
                square, list(augmentation.crop_area), list(augmentation.crop_ratio)
            )[2:]
            for _ in range(4000)
        ]
    )
    for found, expected in (
        (width * height, wanted.prod(dim=1) / 1e6),
        ((width / height).log(), (wanted[:, 1] / wanted[:, 0]).log()),
    ):
        assert kstest(found.numpy(), expected.numpy()).pvalue > 0.01


def test_a_crop_that_never_fits_is_the_whole_image():
    width, height = Augmentation(crop_area=(0.9, 1), crop_ratio=(2, 2))._draw_crop(5, generator())
    assert width.tolist() == height.tolist() == [1.0] * 5


def test_greyscale_makes_the_bands_equal():
    view = draw(Augmentation(grey_probability=1, blur_probability=0), images())
    assert torch.allclose(view[:, 0], view[:, 1], atol=1e-5)


def test_hue_keeps_brightness_and_grey_pixels():
    grey = torch.full((3, 3, 4, 4), 0.4)
    only_hue = Augmentation(
        brightness=0, contrast=0, jitter_probability=1, grey_probability=0, blur_probability=0
    )
    assert torch.allclose(draw(only_hue, grey), grey, atol=1e-3)


def test_blur_keeps_flat_images_and_smooths_others():
    blur = Augmentation(**{**STILL, "blur_probability": 1}, **WHOLE, blur_sigma=(1, 1))
    flat = torch.full((2, 3, 8, 8), 0.3)
    assert torch.allclose(draw(blur, flat), flat, atol=1e-5)
    noisy = images()
    assert draw(blur, noisy).var() < 0.5 * noisy.var()


def test_blur_is_a_convolution_with_replicated_borders():
    blur = Augmentation(**{**STILL, "blur_probability": 1}, **WHOLE, blur_sigma=(1, 1))
    plain = Augmentation(**STILL, **WHOLE)
    weight = torch.exp(torch.tensor([-0.5, 0.0, -0.5]))
    kernel = torch.outer(weight, weight) / weight.sum().square()
    padded = functional.pad(draw(plain, images()), (1, 1, 1, 1), mode="replicate")
    wanted = functional.conv2d(padded, kernel.expand(3, 1, 3, 3), groups=3)
    assert torch.allclose(draw(blur, images()), wanted, atol=1e-5)


def test_an_image_gets_the_same_view_whatever_the_others_are():
    batch = images(6)
    others = batch.clone()
    others[1:] = 0.5
    assert torch.allclose(draw(Augmentation(), batch)[0], draw(Augmentation(), others)[0])


def test_draws_are_as_many_whichever_operations_are_on():
    every, none = generator(), generator()
    Augmentation()(images(), every)
    Augmentation(rotations=False, **STILL, **WHOLE)(images(), none)
    assert torch.equal(every.get_state(), none.get_state())


def test_nothing_is_read_back_from_the_device():
    """PyTorch's meta device holds no values: whatever waited for one would raise."""
    view = draw(Augmentation(), images().to("meta"))
    assert view.device.type == "meta" and view.shape == images().shape
