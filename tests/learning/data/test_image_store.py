import numpy as np
import pytest
import torch

from dcsh_pg.learning.data import image_store
from dcsh_pg.learning.data.image_store import ImageStore

CPU = torch.device("cpu")


def noise():
    return np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), np.uint8)


@pytest.mark.parametrize("resident", [False, True, None])
@pytest.mark.parametrize("mapped", [False, True])
def test_takes_the_rows_in_their_order_wherever_the_images_lie(
    tmp_path, monkeypatch, resident, mapped
):
    monkeypatch.setattr(image_store, "_UPLOAD_IMAGES", 8)
    images = noise()
    if mapped:
        np.save(tmp_path / "images.npy", images)
        images = np.load(tmp_path / "images.npy", mmap_mode="r")
    store = ImageStore(images, CPU, resident=resident)
    rows = torch.tensor([29, 0, 7, 7])
    assert len(store) == 30
    assert np.array_equal(store.take(rows).numpy(), noise()[rows.numpy()])


def test_images_on_the_device_are_a_copy_of_their_own():
    images = noise()
    store = ImageStore(images, CPU, resident=True)
    images[:] = 0
    assert np.array_equal(store.take(torch.arange(30)).numpy(), noise())
