# SPDX-License-Identifier: Apache-2.0
"""The parts that OpenVLA-OFT publishes beside its network: regression head, proprioception.

They are published as pickles, which are not read here; each is converted once to safetensors.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from sqil_ros.errors import CheckpointError

HEAD, PROPRIO = 'action_head', 'proprio_projector'
_REFUSED = {
    'vision_backbone': 'language within the encoders (FiLM)',
    'noisy_action_projector': 'the diffusion head',
}
_OF_PARALLEL_TRAINING = 'module.'
CONVERT = (
    'python -c "import sys, torch; from safetensors.torch import save_file; save_file({k: v for '
    "k, v in torch.load(sys.argv[1], weights_only=True, map_location='cpu').items()}, "
    "sys.argv[1][:-2] + 'safetensors')\" "
)


def component_tensors(folder: Path) -> dict[str, tuple[str, str]]:
    """File and name there of every tensor, by ``<component>.<name>``; empty for OpenVLA's own.

    Raises:
        CheckpointError: a component is pickled, there twice, damaged or not computed here.
    """
    for name, what in _REFUSED.items():
        if found := sorted(folder.glob(f'{name}--*')):
            raise CheckpointError(
                f'{found[0]}: {what} is not computed by this package; choose a checkpoint with '
                'the L1 head and without FiLM.'
            )
    tensors: dict[str, tuple[str, str]] = {}
    for component in (HEAD, PROPRIO):
        if path := _file_of(folder, component):
            for name in _names(path):
                plain = name.removeprefix(_OF_PARALLEL_TRAINING)
                tensors[f'{component}.{plain}'] = (path.name, name)
    return tensors


def _file_of(folder: Path, component: str) -> Path | None:
    found = sorted(folder.glob(f'{component}--*.safetensors'))
    if len(found) > 1:
        raise CheckpointError(
            f'{folder} has {", ".join(path.name for path in found)}; leave the one that belongs '
            'to the other weights.'
        )
    pickled = sorted(folder.glob(f'{component}--*.pt'))
    if pickled and not found:
        raise CheckpointError(
            f'{pickled[0]} is pickled, which is not read here; if you trust it, convert it once '
            f'with: {CONVERT}{pickled[0]}'
        )
    return found[0] if found else None


def _names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework='pt') as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'{path} cannot be read ({error}); convert it again.') from error
