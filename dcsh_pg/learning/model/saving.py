"""Files of ``torch.save`` that are complete or absent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from dcsh_pg.files import replacing


def save_whole(content: Any, path: Path) -> None:
    """``torch.save`` through memory: torch's own writer hides why a full disk failed.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
