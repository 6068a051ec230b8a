"""Captions of aerial and satellite imagery, whose mean embedding stands for that of all texts."""

from __future__ import annotations

from pathlib import Path

from dcsh_pg.errors import InputError

_SCENES = (
    "a river", "a lake", "a pond", "the sea", "a beach", "an island", "a wetland", "a glacier",
    "snow and ice", "a mountain", "a valley", "a desert", "bare soil", "rocks", "a forest",
    "scattered trees", "a meadow", "shrubland", "farmland", "crop fields", "circular irrigation",
    "an orchard", "a vineyard", "greenhouses", "a paddy field", "a pasture", "a park", "a garden",
    "a golf course", "a stadium", "a sports field", "tennis courts", "a swimming pool",
    "a playground", "dense houses", "detached houses", "a village", "mobile homes",
    "apartment blocks", "a city centre", "skyscrapers", "a square", "a church", "a school",
    "a hospital", "a commercial area", "warehouses", "a factory", "an industrial area",
    "storage tanks", "a refinery", "a power station", "solar panels", "wind turbines", "a mine",
    "a quarry", "a landfill", "a construction site", "a dam", "a reservoir", "a canal", "a bridge",
    "a road", "a motorway", "an intersection", "a roundabout", "an overpass", "a railway",
    "a railway station", "a parking lot", "a harbour", "ships", "a container terminal",
    "an airport", "a runway", "airplanes", "a military base", "a cemetery", "ruins", "clouds",
)  # fmt: skip
_FORMS = ("{}", "an aerial photo of {}", "a satellite image of {}", "{} seen from above")

CAPTIONS = tuple(form.format(scene) for scene in _SCENES for form in _FORMS)


def read_captions(path: Path | None) -> tuple[str, ...]:
    """The lines of a text file, or ``CAPTIONS``.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or has no line.
    """
    if path is None:
        return CAPTIONS
    try:
        lines = tuple(filter(None, map(str.strip, path.read_text("utf-8").splitlines())))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"{path} cannot be read: {reason}", hint="give one text a line") from None
    if not lines:
        raise InputError(f"{path} has no texts", hint="give one text a line")
    return lines
