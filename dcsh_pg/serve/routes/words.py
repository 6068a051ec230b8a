"""What the user describes in words, hashed with the text tower of the archive's model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from dcsh_pg import codes
from dcsh_pg.serve.asked import Asked
from dcsh_pg.serve.routes.shared import Name, TheService
from dcsh_pg.text import MAX_TEXT

router = APIRouter(tags=["search"])


class AskedWords(Asked):
    """What to find."""

    text: Annotated[str, Field(max_length=MAX_TEXT, description="'tennis courts by a river'")]


@router.post("/archives/{name}/words")
def hash_words(name: Name, asked: AskedWords, service: TheService) -> dict[str, str]:
    """The code of a text, to search for; only of an archive whose ``text`` is true."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        service.share_text_model(archive)
        query = archive.query_text(asked.text)
    return {"code": f"0x{codes.to_hex(query.code)}"}
