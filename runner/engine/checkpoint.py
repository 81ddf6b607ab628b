"""Checkpoints on disk: whole or not there, checked byte by byte, never code.

A checkpoint is an ordinary ``torch.save`` file whose zip comment holds the SHA-256 of everything before it. It is
written beside its place and renamed; the one before it is kept until then, and used where the newer one is damaged.
"""

import hashlib
import io
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from runner.errors import RecordError

_END_OF_ZIP = b"PK\x05\x06"
DIGEST_BYTES = 64
SECONDS_BETWEEN = 1.0
"""A checkpoint is written at most this often, but for the last one before a stop."""
SHARE_OF_TIME = 0.02
"""Checkpoints take no more of the time than this."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, the previous one kept as ``<name>.previous`` until the next.

    Raises:
        RecordError: if it cannot be written; what was there before still is.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    archive = buffer.getvalue()
    assert archive[-22:-18] == _END_OF_ZIP and archive[-2:] == b"\0\0", "torch.save ends in a zip without comment"
    archive = archive[:-2] + DIGEST_BYTES.to_bytes(2, "little")
    digest = hashlib.sha256(archive).hexdigest().encode()
    beside = path.with_name(f"{path.name}.writing")
    try:
        with beside.open("wb") as file:
            file.write(archive)
            file.write(digest)
        if path.exists():
            os.replace(path, previous(path))
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def load(path: Path) -> dict[str, Any]:
    """Return what was saved, tensors on the CPU.

    Raises:
        RecordError: if the file is missing, truncated or altered, or holds anything but data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    archive, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(archive).hexdigest().encode() != digest:
        raise RecordError(f"{path} is damaged: its checksum does not match")
    try:
        loaded: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise RecordError(f"{path} holds something else than tensors and plain values") from error
    return loaded


class Keeper:
    """Writes the checkpoints of what is trained, not too often."""

    def __init__(self, path: Path) -> None:
        self._path, self._due = path, -math.inf

    def is_due(self) -> bool:
        """Say whether it is time for another; for the first it always is."""
        return time.monotonic() >= self._due

    def keep(self, content: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint of what ``content`` returns, the first of which is read back.

        Raises:
            RecordError: if it cannot be written, or not read.
        """
        began, first = time.monotonic(), not self._path.exists()
        save(self._path, content())
        if first:
            load(self._path)
        ended = time.monotonic()
        self._due = ended + max(SECONDS_BETWEEN, (ended - began) / SHARE_OF_TIME)


INTERFACE = frozenset({"model", "shape", "outputs", "shift", "scale", "classes"})
"""What a run that has ended leaves: its weights, and what using them takes."""


def load_weights(path: Path) -> dict[str, Any]:
    """Return what a run ended with, ``INTERFACE``.

    Raises:
        RecordError: as ``load`` does, or if the run has not ended.
    """
    saved = load(path)
    if not isinstance(saved, dict) or not saved.keys() >= INTERFACE:
        raise RecordError(f"{path} is of a run that has not ended: the command that started it goes on with it")
    return saved


def previous(path: Path) -> Path:
    """Return where the checkpoint before the present one lies."""
    return path.with_name(f"{path.name}.previous")


def remove(path: Path, keep_newest: bool = False) -> None:
    """Remove a checkpoint and everything beside it; with ``keep_newest``, only what is beside it.

    Raises:
        RecordError: if one cannot be removed.
    """
    beside = (previous(path), path.with_name(f"{path.name}.writing"))
    for file in beside if keep_newest else (path, *beside):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise RecordError(f"cannot remove {file}: {error.strerror or error}") from error
