import dataclasses

import numpy as np
import pytest
import torch

from dcsh_pg import methods
from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.training_set import TrainingSet
from dcsh_pg.learning.model import hash_function
from dcsh_pg.methods.run import choose_options, train

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 24, 24, 3), np.uint8)
QUICK = choose_options("dcsh", epochs=6, batch_size=4, hidden=16)


@pytest.mark.parametrize("method", methods.NAMES)
def test_a_run_leaves_a_file_that_hashes_alike(tmp_path, method):
    options = QUICK if method == "dcsh" else None
    made = train(
        TrainingSet(IMAGES, scenes=2, resolution=0.6),
        tmp_path,
        method=method,
        bits=16,
        options=options,
        device="cpu",
    )
    again, training = hash_function.load(tmp_path / "hash_function.pt")
    batch = again.preprocess()(torch.from_numpy(IMAGES))
    with torch.no_grad():
        assert torch.equal(again(batch), made(batch))
    assert (again.method, training["images"], training["chip_size"]) == (method, 24, 24)
    assert training["resolution"] == 0.6 and training["result"]["bits"] == 16


def test_a_finished_run_is_not_replaced_by_accident(tmp_path):
    training_set = TrainingSet(IMAGES, scenes=1)
    first = train(training_set, tmp_path, bits=16, options=QUICK, device="cpu")
    with pytest.raises(UsageError, match="already holds"):
        train(training_set, tmp_path, bits=16, options=QUICK, device="cpu")
    resumed = train(training_set, tmp_path, bits=16, options=QUICK, device="cpu", resume=True)
    pairs = zip(first.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    other = dataclasses.replace(QUICK, alpha=0.5)
    train(training_set, tmp_path, bits=16, options=other, device="cpu", overwrite=True)


def test_defaults_follow_the_way_of_training():
    fine_tuning = choose_options("dcsh", weights="imagenet", freeze=False)
    assert (fine_tuning.encoder_lr, fine_tuning.head_lr, fine_tuning.epochs) == (1e-5, 1e-4, 100)
    assert choose_options("dcsh").encoder_lr == 1e-3
    frozen = choose_options("dcsh", weights="imagenet", epochs=7)
    assert frozen.freeze and frozen.positives == "neighbours" and frozen.epochs == 7


def test_options_of_another_method_are_refused():
    with pytest.raises(UsageError, match="itq has no option head-lr"):
        choose_options("itq", head_lr=0.1)
    with pytest.raises(UsageError, match="no method"):
        choose_options("guessing")


def test_an_encoder_without_weights_to_learn_takes_images_as_they_are(tmp_path):
    made = train(
        TrainingSet(IMAGES, scenes=1), tmp_path, method="lsh", bits=16, encoder="gist", device="cpu"
    )
    assert made.encoder.mean == (0.0, 0.0, 0.0) and made.encoder.std == (1.0, 1.0, 1.0)
