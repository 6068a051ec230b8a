import pytest
import torch

from dcsh_pg.export import export
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction


def hash_function(encoder="small", bits=64, *, bands=3, seed=0, **head) -> HashFunction:
    """One with random weights and BatchNorm statistics as training leaves them."""
    torch.manual_seed(seed)
    orientations = head.pop("orientations", 1)
    body = Encoder(encoder, bands=bands)
    options = {"hidden": (32,), "batch_norm": True, **head}
    function = HashFunction(
        body, MLPHead(body.dim, bits, **options), method="dcsh", orientations=orientations
    )
    with torch.no_grad():
        function(torch.randn(16, bands, body.input_size, body.input_size))
    return function.eval()


@pytest.fixture(scope="session")
def make():
    return hash_function


@pytest.fixture(scope="session")
def function():
    return hash_function()


@pytest.fixture(scope="session")
def model_file(function, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "toy.onnx"
    export(function, path, name="toy", chip_size=64, created="2020-01-01T00:00:00+00:00")
    return path
