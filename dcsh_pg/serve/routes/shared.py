"""What several groups of addresses use."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from dcsh_pg.serve.service import Service


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
Name = Annotated[str, Path(description="Name of the archive", max_length=63)]
ChipId = Annotated[int, Path(description="Id of the chip", ge=1, lt=2**63)]
Zoom = Annotated[int, Path(ge=0, le=24)]
Cell = Annotated[int, Path(ge=0, lt=2**24)]

KEPT = "private, max-age=300"
"""Cache-Control of what browsers may keep."""
