"""Methods and encoders of installed packages: a package of its own, run through the command line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training needs the extra 'train'")

from dcsh_pg.cli.main import app
from dcsh_pg.errors import DcshError, UsageError
from dcsh_pg.hasher import Hasher
from dcsh_pg.plugins import ENCODERS, METHODS

MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from dcsh_pg.learning.encoders import Architecture
from dcsh_pg.learning.heads import Head, MLPHead
from dcsh_pg.learning.training.closed_form import fit_head, unit_mean
from dcsh_pg.learning.training.options import MethodOptions


class Means(nn.Module):
    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


MEANS = Architecture(
    lambda bands: Means(), dim=48, input_size=16, learned=False, default_weights="none"
)
NOT_AN_ENCODER = "a string"


class Scaled(Head):
    """A head of another package."""

    KIND = "acme_hashing:Scaled"

    def __init__(self, dim, bits):
        super().__init__()
        self.dim, self.bits = dim, bits
        self.planes = nn.Linear(dim, bits)

    def forward(self, features):
        return self.planes(nn.functional.normalize(features, dim=1))

    @property
    def config(self):
        return {"dim": self.dim, "bits": self.bits}


@dataclass(frozen=True)
class Options(MethodOptions):
    method: ClassVar[str] = "acme"
    shift: float = 0.0


def fit(images, encoder, options, run):
    def make(features):
        torch.manual_seed(run.seed)
        head = Scaled(encoder.dim, run.bits)
        mean = torch.from_numpy(unit_mean(features).mean(axis=0)).float()
        with torch.no_grad():
            head.planes.bias.copy_(-head.planes.weight @ mean + options.shift)
        return head, {"shift": options.shift}

    return fit_head(images, encoder, make, options, run)
'''
ENTRY_POINTS = """
[dcsh_pg.methods]
acme = acme_hashing
itq = acme_hashing
broken = acme_hashing.absent

[dcsh_pg.encoders]
acme_means = acme_hashing:MEANS
wrong = acme_hashing:NOT_AN_ENCODER
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the package as pip would install it, and pictures."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "acme_hashing.py").write_text(MODULE)
    info = folder / "acme_hashing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-hashing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = random.integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    return folder


def dcsh_pg(site, *arguments):
    """Runs the command line where the package is installed."""
    return subprocess.run(
        [sys.executable, "-c", "from dcsh_pg.cli.main import run; run()", *arguments],
        capture_output=True,
        text=True,
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
    )


@pytest.fixture
def installed(site, monkeypatch):
    """The package in this process, and its folder as the current one."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(site)


def dcsh_pg_here(site, *arguments):
    """As ``dcsh_pg``, in this process: a new one imports torch."""
    done = CliRunner().invoke(app, arguments)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("run", "encoder"), [(dcsh_pg, "acme_means"), (dcsh_pg_here, "acme_hashing:MEANS")]
)
def test_train_export_and_hash_with_a_method_and_an_encoder_of_a_package(
    site, installed, tmp_path, run, encoder
):
    folder, model = str(tmp_path / "run"), tmp_path / "model.onnx"
    options = ("--method", "acme", "--encoder", encoder, "--set", "shift=0.001", "--bits", "16")
    trained = run(site, "train", "pictures", "-o", folder, *options, "--device", "cpu", "-q")
    assert trained.returncode == 0, trained.stderr
    exported = run(site, "export", folder, str(model), "-q")
    assert exported.returncode == 0, exported.stderr
    hasher = Hasher(model, device="cpu", threads=1)  # without the package
    assert (hasher.card.method, hasher.card.encoder) == ("acme", encoder)
    assert hasher.card.training["options"]["shift"] == 0.001
    pixels = np.stack([np.asarray(Image.open(p)) for p in sorted((site / "pictures").iterdir())])
    assert len(np.unique(hasher.hash(pixels), axis=0)) > 12


def test_help_lists_names_without_importing_what_is_behind_them(site):
    code = (
        "import sys; from typer.testing import CliRunner; from dcsh_pg.cli.main import app\n"
        "shown = CliRunner().invoke(app, ['train', '--help']).stdout\n"
        "assert all(n in shown for n in ('acme,', 'broken', 'acme_means,', 'resnet18')), shown\n"
        "assert not {'torch', 'acme_hashing'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_name_of_a_built_in_one_is_refused(site, installed):
    done = dcsh_pg_here(site, "train", "pictures", "-o", "run", "--method", "itq")
    assert (done.returncode, done.stdout) == (UsageError.exit_code, "")
    message, hint = done.stderr.strip().splitlines()
    assert message == (
        "dcsh-pg: more than one method is named 'itq': of dcsh-pg and of acme-hashing"
    )
    assert "uninstall one of these packages" in hint


def test_a_broken_package_fails_only_when_it_is_chosen(installed):
    assert METHODS.load("lsh").__name__ == "dcsh_pg.methods.lsh"
    with pytest.raises(DcshError, match="'broken' of acme-hashing: ModuleNotFoundError") as raised:
        METHODS.load("broken")
    assert raised.value.exit_code == 1 and "reinstall" in raised.value.hint


def test_what_is_not_an_encoder_or_a_method_is_refused(installed):
    from dcsh_pg import methods
    from dcsh_pg.learning.encoders import find

    for name in ("wrong", "acme_hashing:NOT_AN_ENCODER", "acme_hashing:absent", "absent:MEANS"):
        with pytest.raises(UsageError, match=name):
            find(name)
    with pytest.raises(UsageError, match="lacks Options or fit"):
        methods.get("acme_hashing:MEANS")


def test_an_unknown_name_lists_all(installed):
    with pytest.raises(UsageError, match="unknown method 'magic'") as raised:
        METHODS.load("magic")
    assert raised.value.hint.startswith("one of: dcsh, dsh, itq") and "acme" in raised.value.hint
    with pytest.raises(UsageError, match=r"unknown encoder 'os\.system'") as raised:
        ENCODERS.load("os.system")
    assert raised.value.hint.endswith(
        "acme_means, wrong, onnx:FILE, timm:NAME, torchgeo:NAME, open_clip:NAME, MODULE:NAME"
    )


def test_names_of_built_in_encoders_are_those_of_their_modules():
    for name in ENCODERS.builtin:
        assert ENCODERS.load(name) is not None
    from dcsh_pg.learning.encoders import densenet, from_timm, gist, resnet, small, vector, vgg

    tables = [module.ENCODERS for module in (densenet, from_timm, gist, resnet, small, vector, vgg)]
    assert set(ENCODERS.builtin) == {name for table in tables for name in table}
