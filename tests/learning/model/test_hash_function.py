import pytest
import torch

from dcsh_pg.errors import InputError, ModelError, OutputError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction, load, orient, save


def trained(orientations=1, bands=3):
    """A small hash function whose BatchNorms have seen data."""
    torch.manual_seed(0)
    encoder = Encoder("small", bands=bands)
    head = MLPHead(encoder.dim, 16, hidden=(32,), batch_norm=True)
    hash_function = HashFunction(encoder, head, method="dcsh", orientations=orientations)
    for _ in range(3):
        hash_function(torch.randn(8, bands, 64, 64))
    torch.nn.init.normal_(head.norm.weight)
    torch.nn.init.normal_(head.norm.bias)
    return hash_function


def test_folded_function_gives_the_same_z_without_batch_norm():
    hash_function = trained().eval()
    folded = hash_function.fold()
    images = torch.randn(5, 3, 64, 64)
    assert not folded.head.config["batch_norm"] and hash_function.head.config["batch_norm"]
    assert torch.allclose(folded(images), hash_function(images), atol=1e-5)


def test_file_brings_back_function_and_facts(tmp_path):
    hash_function = trained(orientations=4, bands=4).eval()
    facts = {"images": 8, "options": {"alpha": 1.0, "scales": (1.0,)}, "resolution": None}
    save(tmp_path / "run" / "h.pt", hash_function, facts)
    again, reported = load(tmp_path / "run" / "h.pt")
    images = torch.randn(2, 4, 64, 64)
    assert reported == facts
    assert (again.method, again.bits, again.orientations) == ("dcsh", 16, 4)
    assert torch.equal(again(images), hash_function(images))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["h.pt"]


@pytest.mark.parametrize("orientations", [4, 8])
def test_averaged_z_does_not_depend_on_orientation(orientations):
    hash_function = trained(orientations=orientations).eval()
    images = torch.randn(2, 3, 64, 64)
    z = hash_function(images)
    for view in range(orientations):
        assert torch.allclose(hash_function(orient(images, view)), z, atol=1e-5)


def test_orientations_are_eight_different_ones():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert len({tuple(orient(image, view).flatten().tolist()) for view in range(8)}) == 8


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no hash function"):
        load(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(ModelError, match=name):
            load(tmp_path / name)


def test_unwritable_place_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save(tmp_path / "file" / "h.pt", trained(), {})
