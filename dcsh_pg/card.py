"""The card of a model: what its one ONNX file says about itself.

``export`` writes it into the file's ``metadata_props``, ``hasher`` reads it back, the registry
table ``dcsh.model`` keeps it as jsonb.  It holds everything needed to hash an image the way the
archive was hashed, and to tell where the codes came from.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from dcsh_pg.errors import ModelError

FORMAT = 1
"""Version of the card; a file with a higher one is refused."""


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about itself.

    Attributes:
        name: what its maker calls it.
        method: hashing method, such as 'dcsh' or 'itq'.
        bits: K, the length of its codes.
        bands: channels of the images it takes, in order; 3 is red, green, blue.
        chip_size: width and height in pixels of the chips it was trained on; the default chip
            size of an archive made with it.
        resolution: ground size of a training pixel in metres, or None where unknown.
        input_size: the encoder's own input in pixels; the graph resizes any image to it.
        mean, std: per band, of images scaled to 0..1; inside the graph, told here for other tools.
        encoder: name of the encoder.
        precision: 'float32' or 'float16'.
        orientations: of an image over which the graph averages z; each costs a pass through it.
        training: what it was fitted on and how (images, digest, seed, options, bit balance).
        parity: the export's check of this file against PyTorch (images, bits, differing, tolerance).
        versions: library versions that made the file.
        created: ISO 8601, UTC.
    """

    name: str
    method: str
    bits: int
    bands: int
    chip_size: int
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoder: str
    resolution: float | None = None
    precision: str = "float32"
    orientations: int = 1
    training: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""

    def to_metadata(self) -> dict[str, str]:
        """The card as ONNX ``metadata_props``.

        ``dcsh:card`` is the whole card as JSON; the other keys are those that QGIS's Deepness
        plugin reads (each value JSON; resolution in cm per pixel, overlap in percent; the tile size
        under the name in its manual and the one in its code).
        """
        metadata = {
            "dcsh:format": str(FORMAT),
            "dcsh:card": json.dumps(dataclasses.asdict(self), sort_keys=True),
            "model_type": json.dumps("Recognition"),
            "tiles_size": json.dumps(self.chip_size),
            "tile_size": json.dumps(self.chip_size),
            "tiles_overlap": json.dumps(0),
            "standardization_mean": json.dumps(list(self.mean)),
            "standardization_std": json.dumps(list(self.std)),
        }
        if self.resolution is not None:
            metadata["resolution"] = json.dumps(round(100 * self.resolution, 4))
        return metadata

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], *, source: str) -> ModelCard:
        """Reads the card out of an ONNX file's ``metadata_props``.

        Raises:
            ModelError: ``source`` is no dcsh-pg model, or made by a newer dcsh-pg.
        """
        if "dcsh:card" not in metadata:
            raise ModelError(
                f"{source} is an ONNX file, but not a dcsh-pg model",
                hint="make one with 'dcsh-pg train' and 'dcsh-pg export'",
            )
        if int(metadata.get("dcsh:format", "0")) > FORMAT:
            raise ModelError(
                f"{source} was made by a newer dcsh-pg (format {metadata['dcsh:format']})",
                hint="upgrade dcsh-pg: pip install --upgrade dcsh-pg",
            )
        fields = json.loads(metadata["dcsh:card"])
        fields["mean"], fields["std"] = tuple(fields["mean"]), tuple(fields["std"])
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in fields.items() if key in known})
