# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of files, so that a truncated or exchanged one is found before it is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_PIECE = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces so that a large one fits any memory."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def weights_digest(checkpoint: Path) -> str:
    """One fingerprint for all full-precision weights of a checkpoint, sharded or not.

    The hashes that ``checkpoint.json`` records are used where it exists: whoever loads the
    weights verifies them, and hashing gigabytes again for every profile would gain nothing.
    """
    manifest = checkpoint / 'checkpoint.json'
    if manifest.is_file():
        files = json.loads(manifest.read_text(encoding='utf-8'))['files']
        hashes = {name: sha for name, sha in files.items() if name.endswith('.safetensors')}
    else:
        hashes = {path.name: sha256_of(path) for path in checkpoint.glob('*.safetensors')}
    lines = '\n'.join(f'{name} {sha}' for name, sha in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
