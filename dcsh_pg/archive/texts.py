"""The text tower of an archive's model: stored with the model, and asked for the code of a text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.errors import ModelError, NotFound
from dcsh_pg.files import text_file
from dcsh_pg.hasher import Hasher
from dcsh_pg.model_check import MAX_BYTES


def store_text(conn: psycopg.Connection, model: Path | str, card: ModelCard) -> None:
    """Stores the text tower that lies beside a model file, if it has one that is not stored yet.

    Raises:
        InputError, ModelError: the file is not the tower of this model, or is refused.
    """
    file = text_file(model)
    if not card.text or not file.is_file() or registry.has_model(conn, card.text):
        return
    with open(file, "rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if hashlib.sha256(content).hexdigest() != card.text:
        raise ModelError(
            f"{file} is not the text tower of {model}",
            hint="export both again, or remove it to have no search by text",
        )
    store_tower(conn, content, card)


def store_tower(conn: psycopg.Connection, content: bytes, card: ModelCard) -> None:
    """Stores a tower's file.

    Raises:
        InputError, ModelError: it is refused, or gives codes of another length than the model.
    """
    tower = Hasher(content, device="cpu").card
    if not tower.takes_text or tower.bits != card.bits:
        raise ModelError(
            f"{tower.name} is no text tower of {card.bits} bits", hint="export the model again"
        )
    registry.store_model(conn, tower, content)


def tower_file(conn: psycopg.Connection, card: ModelCard) -> bytes:
    """The file of a model's text tower.

    Raises:
        ModelError: the model has none.
        NotFound: it is not stored.
    """
    if not card.text:
        raise ModelError(
            f"the model {card.name} has no text tower, so it cannot be searched by text",
            hint="train one with an encoder of images and texts: docs/encoders.md",
        )
    if not registry.has_model(conn, card.text):
        raise NotFound(
            f"the text tower of the model {card.name} is not stored",
            hint="put FILE.text.onnx beside FILE.onnx, then 'dcsh-pg ingest ARCHIVE SOURCE --model FILE.onnx'",
        )
    return registry.load_model(conn, card.text)
