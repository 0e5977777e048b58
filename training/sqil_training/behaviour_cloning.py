# SPDX-License-Identifier: Apache-2.0
"""sqil-train-bc: train an OpenVLA on demonstrations, from scratch or from another policy.

examples:
  sqil-train-bc --data data/expert --out runs/bc --steps 20000
  sqil-train-bc --data data/expert data/dagger --out runs/bc --steps 40000   (goes on from there)
  sqil-train-bc --domain libero_object --data data/libero --out runs/libero
  sqil-train-bc --start models/toy_sink_openvla --data data/mine --out runs/mine
  sqil-train-bc --data data/expert --out runs/oft --chunk 8                  (OpenVLA-OFT)

The run directory holds `state.safetensors` + `state.json` (resume), `log.jsonl` (one line per
report) and `checkpoint/` (the averaged weights in save_pretrained layout).
"""

from __future__ import annotations

import argparse
import json
import math
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sqil_ros.errors import SqilError
from sqil_ros.policy.openvla.action_tokenizer import encode
from sqil_ros.policy.openvla.checkpoint import save_checkpoint
from sqil_ros.policy.openvla.config import L1, OpenVLAConfig, tiny, with_l1_head
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch, Processor, pixels_from_images
from sqil_ros.policy.openvla.statistics import Normalizer, dataset_statistics
from sqil_ros.policy.openvla.tokenizer import EOS, space_token, train_tokenizer
from sqil_training.batches import draw_jitter, soft_bins
from sqil_training.chunks import chunk_loss
from sqil_training.demonstrations import Demonstrations, Samples
from sqil_training.domains import DOMAINS
from sqil_training.muon import Muon
from sqil_training.precision import BFLOAT16, FLOAT32, products_in
from sqil_training.readouts import Readouts
from sqil_training.run_state import load_state, save_state
from sqil_training.warm_start import warm_start

_OUTER = re.compile(r'embed|lm_head|_token|action_head\.fc2')


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a run.

    ``chunk`` is the number of actions at once by regression (OpenVLA-OFT), 0 for action tokens.
    The encoders learn for ``vision_steps`` steps and stay as they are from then on: once they
    tell where everything is, all time is better spent on the decoder. ``precision`` is that of the
    network's products; the read-outs and the loss are always in float32.
    """

    steps: int = 20000
    vision_steps: int = 20000
    batch: int = 64
    learning_rate: float = 2e-3
    warm_up: int = 300
    weight_decay: float = 0.02
    final_rate: float = 0.03
    average: float = 0.998
    relabel: float = 0.6
    shift: float = 0.5
    bin_spread: float = 1.5
    keypoint_weight: float = 0.5
    goal_weight: float = 4.0
    jitter: float = 0.15
    chunk: int = 0
    precision: str = FLOAT32
    seed: int = 0
    report: int = 100


def learning_rate(settings: Settings, step: int) -> float:
    """Linear warm-up, then a cosine down to ``final_rate`` of the peak."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    progress = min(1.0, (step - settings.warm_up) / max(1, settings.steps - settings.warm_up))
    low = settings.final_rate
    return settings.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


class Trainer:
    """One run: model, read-outs, optimiser, averaged weights."""

    def __init__(self, settings: Settings, data: Demonstrations) -> None:
        """Start from scratch."""
        torch.manual_seed(settings.seed)
        self.settings, self.data = settings, data
        self.tokenizer = train_tokenizer()
        stop_token = self.tokenizer.token_to_id(EOS)
        assert stop_token is not None
        self.config = _config(settings.chunk, stop_token)
        self.model = OpenVLA(self.config)
        patches = (self.config.image_size // self.config.dino['patch_size']) ** 2
        self.readouts = Readouts(
            self.config.dino['hidden_size'] + self.config.siglip['hidden_size'],
            self.model.language_model.config.hidden_size,
            data.keypoints.shape[2],
            patches,
        )
        self.statistics = dataset_statistics(
            data.domain.name, data.actions, data.proprio, data.trajectories
        )
        self.refresh_statistics()
        self.trained = nn.ModuleDict({'model': self.model, 'readouts': self.readouts})
        self.parameters = dict(self.trained.named_parameters())
        # Muon is for the matrices inside the network; embeddings and read-outs keep AdamW.
        inner = {
            name: p
            for name, p in self.parameters.items()
            if p.ndim == 2 and name.startswith('model.') and not _OUTER.search(name)
        }
        outer = [p for name, p in self.parameters.items() if name not in inner]
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            Muon(inner.values(), rate, decay),
            torch.optim.AdamW(
                [
                    {'params': [p for p in outer if p.ndim >= 2], 'weight_decay': decay},
                    {'params': [p for p in outer if p.ndim < 2], 'weight_decay': 0.0},
                ],
                lr=rate,
                betas=(0.9, 0.98),
            ),
        )
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.step = 0

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """What the optimiser of ``parameter`` remembers of it; may be written to."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if any(parameter is p for p in group['params']):
                    return optimizer.state[parameter]
        raise KeyError('no optimiser has this parameter')

    def refresh_statistics(self) -> None:
        """Rebuild what depends on ``self.statistics``."""
        entry = next(iter(self.statistics.values()))
        self.actions, proprio = (
            Normalizer(
                np.array(entry[what]['q01']), np.array(entry[what]['q99']),
                np.array(entry[what]['mask']),
            )
            for what in ('action', 'proprio')
        )  # fmt: skip
        self.processor = Processor(
            self.config, self.tokenizer, proprio, space_token(self.tokenizer)
        )

    def batch(self, samples: Samples) -> tuple[Batch, Tensor]:
        """Model inputs and (B, 7) action tokens, or (B, K, 7) normalised actions."""
        pixels = pixels_from_images(torch.from_numpy(samples.images))
        pictures, cameras = pixels.shape[:2]
        gain, shift = draw_jitter(pictures, cameras, self.settings.jitter)
        tokens, mask = self.processor.tokens(samples.instructions)
        proprio = self.processor.proprio(samples.proprio)
        batch = Batch(pixels * gain + shift, tokens, mask, proprio)
        if self.config.head == L1:
            return batch, torch.from_numpy(self.actions.normalize(samples.chunks)).float()
        labels = encode(
            self.actions.normalize(samples.actions),
            self.config.text_vocab_size,
            self.config.n_action_bins,
        )
        return batch, torch.from_numpy(labels)

    def losses(self, batch: Batch, labels: Tensor, samples: Samples) -> dict[str, Tensor]:
        """Every term of the loss and the errors that are reported with it."""
        seeing = self.step < self.settings.vision_steps
        with torch.set_grad_enabled(seeing), self._products():
            features = self.model.patch_features(batch.pixels).float()
        asked = features[torch.from_numpy(samples.picture)]
        if self.config.head == L1:
            known = torch.from_numpy(samples.known)
            states, answer = self._chunk_terms(batch, labels, asked, known)
        else:
            states, answer = self._token_terms(batch, labels, asked)
        keypoints, pixel_error = self.readouts.keypoint_loss(
            features,
            torch.from_numpy(samples.keypoints).float(),
            torch.from_numpy(samples.places).float(),
        )
        goals, goal_error = self.readouts.goal_loss(
            states[:, 0], torch.from_numpy(samples.goals).float()
        )
        axis = self.readouts.axis_loss(
            features,
            torch.from_numpy(samples.keypoints[:, :, self.data.domain.elongated]).float(),
            torch.from_numpy(samples.axis).float(),
        )
        turn = self.readouts.turn_loss(states[:, 0], torch.from_numpy(samples.turn).float())
        settings = self.settings
        total = answer['action'] + settings.goal_weight * (goals + 0.2 * turn)
        if seeing:
            total = total + settings.keypoint_weight * (keypoints + axis)
        return {
            'loss': total,
            **answer,
            'pixel_error': pixel_error * self.config.image_size,
            'goal_error_mm': goal_error * 1e3,
            'axis': axis,
            'turn': turn,
        }

    def _token_terms(
        self, batch: Batch, labels: Tensor, features: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Teacher-forced states, and how far the chances of bins are from the (B, 7) tokens."""
        config = self.config
        with self._products():
            states = self.model.action_states(batch, labels, features).float()
        logits = self.model.action_logits(states)
        targets = soft_bins(
            labels, config.text_vocab_size, config.n_action_bins, self.settings.bin_spread
        )
        action = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1))
        with torch.no_grad():
            found = config.text_vocab_size - 1 - logits.argmax(-1)
            bins_off = (found - labels).abs().float()[:, :3].mean()
            grip = ((found - labels).abs()[:, 6] < 64).float().mean()
        return states, {'action': action, 'bins_off': bins_off, 'gripper': grip}

    def _chunk_terms(
        self, batch: Batch, labels: Tensor, features: Tensor, known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """States of a parallel answer, and how far it is from the (B, K, 7) actions."""
        assert self.model.action_head is not None
        with self._products():
            states = self.model.chunk_states(batch, features).float()
        predicted = self.model.action_head(states)
        action = chunk_loss(predicted, labels, known)
        with torch.no_grad():
            off = (predicted - labels).abs()
            grip = (off[..., 6][known] < 0.5).float().mean()
        return states, {'action': action, 'first_off': off[:, 0, :3].mean(), 'gripper': grip}

    def _products(self) -> AbstractContextManager[None]:
        return products_in(self.settings.precision, torch.device('cpu'))

    def train_step(self, samples: Samples) -> dict[str, float]:
        """One update."""
        settings = self.settings
        batch, labels = self.batch(samples)
        terms = self.losses(batch, labels, samples)
        self.trained.zero_grad(set_to_none=True)
        terms['loss'].backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = learning_rate(settings, self.step)
            optimizer.step()
        self.step += 1
        decay = min(settings.average, self.step / (self.step + 20.0))
        averaged = list(self.averaged.values())
        torch._foreach_lerp_(averaged, [p.detach() for p in self.parameters.values()], 1 - decay)
        return {name: float(value.detach()) for name, value in terms.items()}

    def export(self, directory: Path) -> None:
        """Write the averaged weights as a checkpoint."""
        model = OpenVLA(self.config)
        prefix = 'model.'
        weights = {
            name.removeprefix(prefix): value
            for name, value in self.averaged.items()
            if name.startswith(prefix)
        }
        model.load_state_dict(weights, strict=False)
        name = 'openvla-oft-tiny' if self.config.head == L1 else 'openvla-tiny'
        save_checkpoint(
            directory, model, self.tokenizer, self.statistics, self.data.contract, name
        )


def _config(chunk: int, stop_token: int) -> OpenVLAConfig:
    """The tiny network, answering with tokens or with chunks."""
    return with_l1_head(tiny(), chunk, stop_token=stop_token) if chunk else tiny()


def batches(data: Demonstrations, settings: Settings, first: int) -> Iterator[Samples]:
    """Batches from step ``first`` on, decoded ahead on a thread; step k is always the same."""
    ready: queue.Queue[Samples] = queue.Queue(maxsize=4)

    def produce() -> None:
        step = first
        while True:
            rng = np.random.default_rng([settings.seed, step])
            chance = settings.relabel, settings.shift
            ready.put(data.draw(rng, settings.batch, *chance, chunk=max(1, settings.chunk)))
            step += 1

    threading.Thread(target=produce, daemon=True).start()
    while True:
        yield ready.get()


def train(trainer: Trainer, run: Path, minutes: float) -> None:
    """Train to the last step or until ``minutes`` have passed, saving every few minutes."""
    settings = trainer.settings
    started = saved = time.monotonic()
    sums: dict[str, float] = {}
    since = time.monotonic()
    for samples in batches(trainer.data, settings, trainer.step):
        for name, value in trainer.train_step(samples).items():
            sums[name] = sums.get(name, 0.0) + value
        now = time.monotonic()
        if trainer.step % settings.report == 0:
            row = {name: round(value / settings.report, 4) for name, value in sums.items()}
            rate = settings.report * settings.batch / (now - since)
            row |= {'step': trainer.step, 'samples_per_s': round(rate, 1)}
            with (run / 'log.jsonl').open('a', encoding='utf-8') as log:
                log.write(json.dumps(row) + '\n')
            print(json.dumps(row), flush=True)
            sums, since = {}, now
        over = trainer.step >= settings.steps or now - started > 60.0 * minutes
        if over or now - saved > 240.0:
            save_state(run, trainer)
            trainer.export(run / 'checkpoint')
            saved = now
        if over:
            return


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-train-bc', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='episode trees')
    parser.add_argument(
        '--out', type=Path, required=True, help='run directory; resumed if it has one'
    )
    parser.add_argument(
        '--start', type=Path, metavar='CHECKPOINT', help='begin with its weights, not by chance'
    )
    parser.add_argument('--domain', choices=sorted(DOMAINS), default='toy_sink')
    parser.add_argument('--minutes', type=float, default=math.inf, help='stop after this long')
    parser.add_argument('--threads', type=int, default=2, help='torch threads')
    defaults = Settings()
    for name, value in asdict(defaults).items():
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=type(value),
            default=value,
            choices=(FLOAT32, BFLOAT16) if name == 'precision' else None,
        )
    args = parser.parse_args(argv)
    if args.chunk < 0:
        parser.error(f'--chunk is {args.chunk}; use 0 for action tokens, or more')
    torch.set_num_threads(args.threads)
    settings = Settings(**{name: getattr(args, name) for name in asdict(defaults)})
    data = Demonstrations(args.data, DOMAINS[args.domain])
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings, data)
    try:
        if args.start:
            warm_start(trainer, args.start)
        load_state(args.out, trainer)  # a run that goes on has learned more since
    except SqilError as error:
        print(f'sqil-train-bc: {error}', file=sys.stderr)
        return 1
    header = {
        'settings': asdict(settings),
        'start': str(args.start) if args.start else None,
        'samples': len(data),
        'from_step': trainer.step,
    }
    with (args.out / 'log.jsonl').open('a', encoding='utf-8') as log:
        log.write(json.dumps(header) + '\n')
    print(json.dumps(header), flush=True)
    train(trainer, args.out, args.minutes)
    return 0


if __name__ == '__main__':
    sys.exit(main())
