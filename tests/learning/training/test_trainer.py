"""The loop, on the real DCSH objective and the small encoder, with a handful of tiny images."""

import dataclasses
import json
import math
from functools import partial

import fitting
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dcsh_pg.errors import InputError, TrainingError, UsageError
from dcsh_pg.learning.data.augment import Augmentation
from dcsh_pg.learning.data.image_pairs import ImagePairs
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.learning.training import schedule, trainer
from dcsh_pg.learning.training.bit_balance import BitBalance
from dcsh_pg.learning.training.optimizer import adam
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.methods import dcsh
from dcsh_pg.progress import Progress

OPTIONS = dataclasses.replace(dcsh.Options.from_scratch(), epochs=6, batch_size=4, hidden=32)


def images(count=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 24, 24, 3), np.uint8)


def fit(run=None, *, seed=0, options=OPTIONS, **further):
    with seeded(seed):
        encoder = Encoder("small")
    return fitting.fit(
        dcsh, images(), encoder, bits=16, seed=seed, options=options, folder=run, **further
    )


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class StopAfter(Progress):
    """Interrupts like Ctrl-C after so many images."""

    def __init__(self, images):
        self.images = images

    def advance(self, n=1, *, total=None):
        self.images -= n
        if self.images < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [8, 40, 143])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, stop):
    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", progress=StopAfter(stop))
    resumed = fit(tmp_path / "parts", resume=True)
    assert same(whole, resumed)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_seed_decides_everything_and_leaves_the_callers_randomness_alone():
    torch.manual_seed(7)
    wanted = torch.rand(1)
    torch.manual_seed(7)
    first = fit()
    assert torch.rand(1) == wanted
    assert same(first, fit())
    assert not same(first, fit(seed=1))


def test_log_reports_losses_and_bit_balance(tmp_path):
    fit(tmp_path)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {"nt_xent", "quantization", "beta", "mean_abs", "constant", "entropy"} <= {*records[0]}
    assert [record["beta"] for record in records] == [1.0, 2.0, 4.0, 6.0, 7.0, 9.0]


def test_finished_run_has_its_last_epoch_in_the_checkpoint(tmp_path):
    fit(tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert [record["epoch"] for record in content["log"]] == [1, 2, 3, 4, 5, 6]


def test_rare_checkpoints_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SHARE", 1e-9)
    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", progress=StopAfter(100))
    content = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)
    assert len(content["log"]) == 1
    assert same(whole, fit(tmp_path / "parts", resume=True))


class Synchronisations(TorchDispatchMode):
    """Counts what makes the host wait for a device: values and sizes that are read back."""

    WAITING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in self.WAITING
        return func(*args, **(kwargs or {}))


def test_steps_do_not_wait_for_the_device():
    """The optimizer is the fused one, as on CUDA."""
    counts = []
    for number in (8, 48):
        with seeded(0):
            encoder = Encoder("small")
            head = dcsh.hash_layer(encoder.dim, 16, OPTIONS)
        source = ImagePairs(
            images(number),
            Preprocess(16, encoder.mean, encoder.std),
            Augmentation(),
            torch.device("cpu"),
            neighbours=torch.arange(number)[:, None].roll(1, dims=0),
        )
        optimizer = adam([{"params": head.parameters(), "lr": 1e-3}], torch.device("cpu"))
        loop = trainer.Loop(epochs=1, batch_size=4, seed=0, beta=lambda epoch: 1.0)
        objective = partial(dcsh.objective, options=OPTIONS)
        with Synchronisations() as waits:
            trainer.train(encoder, head, source, objective, optimizer, loop, identity={})
        counts.append(waits.count)
    assert counts[0] == counts[1] > 0


def test_checkpoint_of_another_training_is_not_resumed(tmp_path):
    fit(tmp_path)
    with pytest.raises(UsageError, match="options differ"):
        fit(tmp_path, resume=True, options=dataclasses.replace(OPTIONS, alpha=0.5))
    (tmp_path / "checkpoint.pt").write_text("hello")
    with pytest.raises(InputError, match="checkpoint"):
        fit(tmp_path, resume=True)


def test_loss_that_is_not_finite_stops_the_run():
    with pytest.raises(TrainingError, match="not finite"):
        fit(options=dataclasses.replace(OPTIONS, head_lr=math.inf))


def test_one_image_is_too_few():
    with pytest.raises(TrainingError, match="too few"):
        fitting.fit(dcsh, images(1), Encoder("small"), bits=16, options=OPTIONS)


def test_beta_grows_from_1_to_10_in_equal_stages():
    betas = [schedule.beta(epoch, 100) for epoch in range(100)]
    assert betas[:10] == [1.0] * 10 and betas[-10:] == [10.0] * 10
    assert sorted(set(betas)) == [float(b) for b in range(1, 11)]
    assert [schedule.beta(epoch, 4) for epoch in range(4)] == [1.0, 3.0, 6.0, 8.0]


def test_balance_of_known_codes():
    z = torch.tensor([[1.0, -1.0, 0.0], [-1.0, -1.0, 2.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 0.5]])
    balance = BitBalance.of(z)
    assert balance == BitBalance(bits=3, mean_abs=0.6667, constant=2, entropy=0.3333)
    with pytest.raises(TrainingError, match="2 of 3 bits"):
        balance.check()
