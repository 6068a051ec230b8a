"""A picture of the user's, hashed with the archive's model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path as FilePath
from pathlib import PurePosixPath

from fastapi import APIRouter, UploadFile

from dcsh_pg import codes
from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery.pixels.formats import IMAGES
from dcsh_pg.serve.routes.shared import Name, TheService

router = APIRouter(tags=["search"])


@router.post("/archives/{name}/pictures")
def hash_picture(
    name: Name, file: UploadFile, service: TheService
) -> dict[str, str | float | None]:
    """The code of a picture, to search for; the picture is not kept.

    ``scale`` is the width of the ground that it shows in widths of a chip, or null.
    """
    shown = PurePosixPath(file.filename or "").name or "the picture"
    suffix = PurePosixPath(shown).suffix.lower()
    if suffix not in IMAGES:
        raise UsageError(
            f"{shown} is not an image by its name", hint=f"send one of {' '.join(IMAGES)}"
        )
    if (file.size or 0) > service.settings.upload_bytes:
        raise UsageError(
            f"{shown} is larger than {service.settings.upload_bytes >> 20} MB",
            hint="send a part of it",
        )
    with tempfile.TemporaryDirectory(dir=service.folder) as folder, service.reading() as conn:
        archive = service.archive(conn, name)
        service.share_model(archive)
        path = FilePath(folder) / f"picture{suffix}"
        path.write_bytes(file.file.read())
        try:
            with service.reading_imagery():
                query = archive.query_image(path, is_trusted=False)
        except InputError as error:
            message = error.message.replace(os.fspath(path), shown)
            raise InputError(message, hint="send a PNG, JPEG or GeoTIFF picture") from None
    return {
        "code": f"0x{codes.to_hex(query.code)}",  # all digits of some are 0 and 1
        "name": shown,
        "scale": archive.relative_scale(query),
    }
