# SPDX-License-Identifier: Apache-2.0
"""``checkpoint.json``: what a checkpoint directory holds and which robot it was made for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqil_ros.digest import sha256_of
from sqil_ros.errors import CheckpointError

MANIFEST_NAME = 'checkpoint.json'
SCHEMA = 1


@dataclass(frozen=True)
class CheckpointManifest:
    """The facts that are checked before any weight is read.

    Attributes:
        name: what reports call the policy.
        architecture: which loader understands the directory (``openvla``).
        dataset: key of this policy in ``dataset_statistics.json``.
        contract_hash: :attr:`sqil_ros.contract.Contract.hash` of the training data.
        files: SHA-256 (hex) of every file beside the manifest.
    """

    name: str
    architecture: str
    dataset: str
    contract_hash: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One fingerprint (hex) for everything that decides what the policy answers."""
        lines = '\n'.join(f'{name} {sha}' for name, sha in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def write_manifest(
    directory: Path,
    *,
    name: str,
    architecture: str,
    dataset: str,
    contract_hash: str,
    files: Iterable[str] | None = None,
) -> CheckpointManifest:
    """Hash the files of a finished checkpoint and write its manifest (last of all).

    ``files`` are relative to ``directory``; left out, every file below it is meant.
    """
    names = files or [
        path.relative_to(directory).as_posix()
        for path in directory.rglob('*')
        if path.is_file() and path.name != MANIFEST_NAME
    ]
    hashes = {file: sha256_of(directory / file) for file in sorted(names)}
    manifest = CheckpointManifest(name, architecture, dataset, contract_hash, hashes)
    text = json.dumps({'schema': SCHEMA} | dataclasses.asdict(manifest), indent=2)
    (directory / MANIFEST_NAME).write_text(text + '\n', encoding='utf-8')
    return manifest


def read_manifest(directory: Path) -> CheckpointManifest:
    """Read a manifest and verify every file it names; the inverse of :func:`write_manifest`.

    Raises:
        CheckpointError: the directory, the manifest or a file is missing, malformed or altered.
    """
    path = directory / MANIFEST_NAME
    if not directory.is_dir():
        raise CheckpointError(
            f'No checkpoint directory at {directory}; pass the path of a trained checkpoint.'
        )
    if not path.is_file():
        raise CheckpointError(
            f'{directory} has no {MANIFEST_NAME}; it is not a finished checkpoint. '
            'Save it again or choose another directory.'
        )
    manifest = _parse(path)
    for file, expected in manifest.files.items():
        _verify(directory / file, expected)
    return manifest


def _parse(path: Path) -> CheckpointManifest:
    try:
        raw = json.loads(path.read_text(encoding='utf-8'))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f'{path} is not JSON ({error}); fetch the file again.') from error
    fields = {field.name for field in dataclasses.fields(CheckpointManifest)}
    if not isinstance(raw, dict) or set(raw) != fields | {'schema'}:
        raise CheckpointError(
            f'{path} must hold exactly {sorted(fields | {"schema"})}; save the checkpoint again.'
        )
    if raw.pop('schema') != SCHEMA:
        raise CheckpointError(f'{path} is not of schema {SCHEMA}; save the checkpoint again.')
    files = raw['files']
    if not isinstance(files, dict) or not files:
        raise CheckpointError(f'{path} names no files; save the checkpoint again.')
    for file in files:
        if Path(file).is_absolute() or '..' in Path(file).parts:
            raise CheckpointError(
                f'{path} names {file!r}, outside its own directory; do not trust this checkpoint.'
            )
    return CheckpointManifest(**raw)


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise CheckpointError(f'{path} is missing; fetch the whole checkpoint again.')
    found = sha256_of(path)
    if found != expected:
        raise CheckpointError(
            f'{path} ({path.stat().st_size} bytes) has sha256 {found[:12]}..., the manifest says '
            f'{expected[:12]}...; it is truncated or altered. Fetch it again.'
        )
