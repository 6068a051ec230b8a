"""A model as a STAC item with the machine learning model extension (MLM)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pystac
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import (
    AssetGeneralMLMExtension,
    Hyperparameters,
    InputStructure,
    MLMExtension,
    ModelInput,
    ModelOutput,
    ResultStructure,
    TaskType,
)
from pystac.extensions.raster import DataType

from dcsh_pg.card import ModelCard

ONNX = "application/octet-stream; framework=onnx"
"""Media type of a model file; none is registered."""

ASSET = "model"
"""Key of the asset that is the ONNX file."""

_RELEASE = re.compile(r"\d+\.\d+\.\d+")  # the schema of MLM takes no other form of version

EARTH = [-180.0, -90.0, 180.0, 90.0]


def model_item(
    card: ModelCard, onnx: bytes, sha256: str, *, href: str, made: datetime
) -> pystac.Item:
    """The model as an item without links, its ONNX file the asset ``model``.

    What the graph does by itself (resizing, scaling, standardization) is listed among the
    hyperparameters, not as what a user has to do to the input.

    Args:
        card: what the model says about itself.
        onnx: the file.
        sha256: of the file, hexadecimal.
        href: where the file is found.
        made: when it was stored, for a card without a date.
    """
    # For the item, where MLM looks for them, and the asset, without which STAC refuses them there.
    names = [] if card.takes_vectors else card.band_names or band_names(card.bands)
    bands = [{"name": name} for name in names]
    item = pystac.Item(
        id=f"{card.name}-{sha256[:12]}",
        geometry=rectangle(EARTH),
        bbox=EARTH,
        datetime=datetime.fromisoformat(card.created) if card.created else made,
        properties={
            "title": f"{card.name}: {card.input} to hash code of {card.bits} bits ({card.method})",
            "description": (
                f"Learned hash function: similar {card.input}s get codes of small Hamming distance. "
                "It may be run on those of any place and time."
            ),
            "bands": bands,
        },
    )
    asset = pystac.Asset(
        href,
        title=f"ONNX file: {card.input} in, packed code out",
        media_type=ONNX,
        roles=["mlm:model", "mlm:weights", "data"],
        extra_fields={"bands": bands},
    )
    item.add_asset(ASSET, asset)
    AssetGeneralMLMExtension.ext(asset, add_if_missing=True).apply(artifact_type="onnx")
    FileExtension.ext(asset, add_if_missing=True).apply(size=len(onnx), checksum=multihash(sha256))
    torch = card.versions.get("torch", "").partition("+")[0]
    MLMExtension.ext(item, add_if_missing=True).apply(
        name=card.name,
        architecture=card.encoder,
        tasks=[TaskType.SIMILARITY_SEARCH],
        input=[_input(card)],
        output=_outputs(card),
        framework="PyTorch" if torch else None,
        framework_version=torch if _RELEASE.fullmatch(torch) else None,
        hyperparameters=Hyperparameters.create(
            method=card.method,
            bits=card.bits,
            input_size=card.input_size,
            mean=list(card.mean),
            std=list(card.std),
            orientations=card.orientations,
            precision=card.precision,
        ),
    )
    return item


def band_names(count: int) -> list[str]:
    """Names for the channels of a model: red, green, blue where there are three."""
    if count == 3:
        return ["red", "green", "blue"]
    return [f"band-{number}" for number in range(1, count + 1)]


def multihash(sha256: str) -> str:
    """A SHA-256 in hexadecimal as STAC's file extension writes it, as a multihash."""
    return "1220" + sha256


def _input(card: ModelCard) -> ModelInput:
    if card.takes_vectors:
        return ModelInput.create(
            name="vector",
            bands=[],
            input=InputStructure.create(
                shape=[-1, card.bands],
                dim_order=["batch", "dimension"],
                data_type=DataType.FLOAT32,
            ),
            description=(
                f"Embeddings of {card.bands} numbers, dequantized and pooled as the card says."
            ),
        )
    return ModelInput.create(
        name="image",
        bands=list(card.band_names) or band_names(card.bands),
        input=InputStructure.create(
            shape=[-1, -1, -1, card.bands],
            dim_order=["batch", "height", "width", "bands"],
            data_type=DataType(card.dtype),
        ),
        description=(
            f"Images of any size; trained on chips of {card.chip_size} pixels. The graph itself "
            f"resizes them to {card.input_size} pixels (bilinear, antialiased) and standardizes "
            "them, so nothing is to be scaled or resized before."
        ),
    )


def _outputs(card: ModelCard) -> list[ModelOutput]:
    return [
        ModelOutput.create(
            name=name,
            tasks=[TaskType.SIMILARITY_SEARCH],
            result=ResultStructure.create(
                shape=[-1, width], dim_order=["batch", axis], data_type=data_type
            ),
            description=description,
        )
        for name, width, axis, data_type, description in (
            (
                "code", card.bits // 8, "byte", DataType.UINT8,
                f"{card.bits} bits, eight a byte, most significant first; bit k is 1 where "
                "z[k] >= 0. Compare codes by Hamming distance.",
            ),
            ("z", card.bits, "bit", DataType.FLOAT32, "The values whose signs are the bits."),
        )
    ]  # fmt: skip


def rectangle(bbox: list[float]) -> dict[str, Any]:
    """West, south, east, north -> GeoJSON polygon."""
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
