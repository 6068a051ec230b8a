import dataclasses

import numpy as np
import pytest
import torch

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.training_set import TrainingSet
from dcsh_pg.learning.model import hash_function
from dcsh_pg.learning.training.run import Run
from dcsh_pg.methods import choose_options
from dcsh_pg.plugins import METHODS
from dcsh_pg.train import train

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 24, 24, 3), np.uint8)
QUICK = choose_options("dcsh", epochs=6, batch_size=4, hidden=16)


@pytest.mark.parametrize("method", METHODS.names())
def test_a_run_leaves_a_file_that_hashes_alike(tmp_path, method):
    options = QUICK if method == "dcsh" else None
    made = train(
        TrainingSet(IMAGES, scenes=2, resolution=0.6),
        Run(bits=16, folder=tmp_path),
        method=method,
        options=options,
    )
    again, training = hash_function.load(tmp_path / "hash_function.pt")
    batch = again.preprocess()(torch.from_numpy(IMAGES))
    with torch.no_grad():
        assert torch.equal(again(batch), made(batch))
    assert (again.method, training["images"], training["chip_size"]) == (method, 24, 24)
    assert training["resolution"] == 0.6 and training["result"]["bits"] == 16


def test_a_finished_run_is_not_replaced_by_accident(tmp_path):
    training_set = TrainingSet(IMAGES, scenes=1)
    run = Run(bits=16, folder=tmp_path)
    first = train(training_set, run, options=QUICK)
    with pytest.raises(UsageError, match="already has"):
        train(training_set, run, options=QUICK)
    resumed = train(training_set, dataclasses.replace(run, resume=True), options=QUICK)
    pairs = zip(first.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    other = dataclasses.replace(QUICK, alpha=0.5)
    train(training_set, run, options=other, overwrite=True)


def test_defaults_follow_the_way_of_training():
    fine_tuning = choose_options("dcsh", weights="imagenet", freeze=False)
    assert (fine_tuning.encoder_lr, fine_tuning.head_lr, fine_tuning.epochs) == (1e-5, 1e-4, 100)
    assert choose_options("dcsh").encoder_lr == 1e-3
    frozen = choose_options("dcsh", weights="imagenet", epochs=7)
    assert frozen.freeze and frozen.positives == "neighbours" and frozen.epochs == 7


def test_options_of_another_method_are_refused():
    with pytest.raises(UsageError, match="itq has no option head_lr"):
        choose_options("itq", head_lr=0.1)
    with pytest.raises(UsageError, match="unknown method"):
        choose_options("guessing")


def test_an_encoder_without_weights_to_learn_takes_images_as_they_are(tmp_path):
    made = train(
        TrainingSet(IMAGES, scenes=1), Run(bits=16, folder=tmp_path), method="lsh", encoder="gist"
    )
    assert made.encoder.mean == (0.0, 0.0, 0.0) and made.encoder.std == (1.0, 1.0, 1.0)
