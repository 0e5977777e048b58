# SPDX-License-Identifier: Apache-2.0
"""sqil-import: a published OpenVLA or OpenVLA-OFT as a checkpoint of this package."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import CheckpointError, SqilError
from sqil_ros.policy.manifest import write_manifest
from sqil_ros.policy.openvla.checkpoint import STATISTICS_FILE, TOKENIZER_FILE
from sqil_ros.policy.openvla.config import TOKENS, OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import PROPRIO_LENGTHS
from sqil_ros.policy.openvla.published.folder import (
    Published,
    network_config,
    open_published,
    read_json,
)
from sqil_ros.policy.openvla.published.names import check_names, to_ours
from sqil_ros.policy.openvla.tokenizer import space_token

SHARD_BYTES = 2 << 30
_EXAMPLES = """examples:
  sqil-import --from openvla-7b --dataset bridge_orig --out models/openvla_7b --dry-run
  sqil-import --from openvla-7b --dataset bridge_orig --out models/openvla_7b
  sqil-quantize --checkpoint models/openvla_7b --bits 4
  sqil-import --from openvla-7b-oft --chunk 8 --cameras 2 --dataset libero_object_no_noops \\
              --out models/openvla_oft_7b

The folder is as it is published: config.json, tokenizer.json and safetensors. --contract says for
which robot the policy is used from now on; that its actions are sound there is yours to know.
"""


def convert(
    published: Published,
    config: OpenVLAConfig,
    dataset: str,
    out: Path,
    name: str,
    contract: Contract,
) -> None:
    """Write a checkpoint; memory holds one shard of it at a time.

    Raises:
        CheckpointError: the published folder is not whole, or lacks the data set.
    """
    statistics = statistics_of(published, dataset)
    shapes = shapes_of(config)
    check_names(shapes, published.files)
    tokenizer = published.folder / TOKENIZER_FILE
    if not tokenizer.is_file():
        raise CheckpointError(f'{tokenizer} is missing; fetch it.')
    space_token(Tokenizer.from_file(str(tokenizer)))
    partial = out.with_name(f'.{out.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        config.architectures = ['OpenVLA']
        config.dtype = torch.bfloat16
        config.save_pretrained(partial)
        shutil.copyfile(tokenizer, partial / TOKENIZER_FILE)
        text = json.dumps({dataset: statistics}, indent=1)
        (partial / STATISTICS_FILE).write_text(text + '\n', encoding='utf-8')
        _write_shards(published, shapes, partial)
        write_manifest(
            partial, name=name, architecture='openvla', dataset=dataset,
            contract_hash=contract.hash,
        )  # fmt: skip
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def shapes_of(config: OpenVLAConfig) -> dict[str, torch.Size]:
    """Of every tensor of a network, which is not made for that."""
    with torch.device('meta'):
        return {name: tensor.shape for name, tensor in OpenVLA(config).state_dict().items()}


def statistics_of(published: Published, dataset: str) -> dict[str, Any]:
    """Of one data set; of a fine-tuned checkpoint they lie beside it, not in its configuration.

    Raises:
        CheckpointError: the checkpoint has no such data set.
    """
    beside = published.folder / STATISTICS_FILE
    known = read_json(beside) if beside.is_file() else published.config.get('norm_stats', {})
    if dataset not in known:
        raise CheckpointError(
            f'The checkpoint has no data set {dataset!r}; it has {", ".join(sorted(known))}.'
        )
    found: dict[str, Any] = known[dataset]
    masks = {'action': [True] * (len(found['action']['q01']) - 1) + [False]}
    if 'proprio' in found:
        masks['proprio'] = [True] * len(found['proprio']['q01'])
    return found | {what: {'mask': mask} | found[what] for what, mask in masks.items()}


def _write_shards(published: Published, shapes: dict[str, torch.Size], folder: Path) -> None:
    shards = list(_split(shapes))
    places: dict[str, str] = {}
    with tqdm(total=len(shapes), unit='tensor', desc='converting', disable=None) as bar:
        for index, names in enumerate(shards):
            tensors: dict[str, Tensor] = {}
            for name in names:
                found = to_ours(name, shapes[name], published.read)
                tensors[name] = found.to(torch.bfloat16).contiguous()
                bar.update()
            file = f'model-{index + 1:05d}-of-{len(shards):05d}.safetensors'
            save_file(tensors, folder / file, {'format': 'pt'})
            places |= dict.fromkeys(names, file)
    size = 2 * sum(shape.numel() for shape in shapes.values())
    index_text = json.dumps({'metadata': {'total_size': size}, 'weight_map': places}, indent=1)
    (folder / 'model.safetensors.index.json').write_text(index_text + '\n', encoding='utf-8')


def _split(shapes: dict[str, torch.Size]) -> Iterator[list[str]]:
    """Names whose tensors make a shard, in their order."""
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        if names and size + 2 * shape.numel() > SHARD_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += 2 * shape.numel()
    yield names


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-import', description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument('--from', dest='source', type=Path, required=True, help='its folder')
    parser.add_argument('--dataset', required=True, help='whose statistics scale the actions')
    parser.add_argument('--out', type=Path, required=True, help='folder of the checkpoint')
    parser.add_argument('--name', help='what reports call it; openvla-7b or openvla-oft-7b')
    parser.add_argument('--chunk', type=int, help='of OpenVLA-OFT: actions at once')
    parser.add_argument('--cameras', type=int, help='of OpenVLA-OFT: pictures that it sees')
    parser.add_argument('--contract', type=Path, default=DEFAULT_PATH, help="the package's")
    parser.add_argument('--dry-run', action='store_true', help='check, but write nothing')
    args = parser.parse_args(argv)
    try:
        published = open_published(args.source)
        config = network_config(published, args.chunk, args.cameras)
        shapes = shapes_of(config)
        check_names(shapes, published.files)
        statistics_of(published, args.dataset)
        count = sum(shape.numel() for shape in shapes.values())
        if config.proprio_dim not in (0, *PROPRIO_LENGTHS):
            print(
                f'sqil-import: it takes {config.proprio_dim} numbers of proprioception, which no '
                'robot here gives; it can be quantised and measured, but not act.',
                file=sys.stderr,
            )
        if args.out.exists():
            raise CheckpointError(f'{args.out} is there already; remove it or choose another.')
        if args.dry_run:
            print(f'would write {count:,} weights, {2e-9 * count:.1f} GB, to {args.out}')
            return 0
        name = args.name or ('openvla-7b' if config.head == TOKENS else 'openvla-oft-7b')
        convert(published, config, args.dataset, args.out, name, Contract.load(args.contract))
    except (SqilError, OSError) as error:
        print(f'sqil-import: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    print(f'{count:,} weights in {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
