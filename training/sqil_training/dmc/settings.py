# SPDX-License-Identifier: Apache-2.0
"""Every choice of an experiment in DeepMind Control."""

from __future__ import annotations

from dataclasses import dataclass

from sqil_ros.errors import ParameterError

FULL_PRECISION, ROUNDED = 'fp', 'ptq'
METHODS = (FULL_PRECISION, ROUNDED, 'qat', 'qbc', 'sqil')
"""Full precision; rounded with LSQ's first steps and not trained; and, trained on the grid, the
methods of :data:`sqil_training.finetune.objective.OBJECTIVES`."""


@dataclass(frozen=True)
class Settings:
    """Every choice of an experiment.

    Attributes:
        hidden: width of the policy's two hidden layers.
        bits: width of weights and activations.
        edge_bits: width of those of the first and last layer.
        seeds: training seeds, 0 up.
        episodes: initial states of the evaluation.
        cloning_steps: updates at full precision.
        cloning_rate: their learning rate.
        tuning_steps: updates on the grid.
        tuning_rate: their learning rate; the paper's is the default.
        batch: frames of an update.
        stride: every how many frames are scored, k.
        top: share of heavy frames, p.
        beta: their weight.
    """

    hidden: int = 256
    bits: int = 4
    edge_bits: int = 8
    seeds: int = 3
    episodes: int = 10
    cloning_steps: int = 10000
    cloning_rate: float = 1e-3
    tuning_steps: int = 10000
    tuning_rate: float = 3e-4
    batch: int = 128
    stride: int = 4
    top: float = 0.2
    beta: float = 2.0

    def __post_init__(self) -> None:
        for name in ('hidden', 'seeds', 'episodes', 'batch', 'cloning_steps', 'tuning_steps'):
            if getattr(self, name) < 1:
                raise ParameterError(f'{name} is {getattr(self, name)}; it must be at least 1.')

    @property
    def cloning(self) -> tuple[float, ...]:
        """What decides a full-precision policy, given demonstrations and seed."""
        return self.hidden, self.batch, self.cloning_steps, self.cloning_rate

    @property
    def grid(self) -> tuple[int, int]:
        """Widths of the inner and of the outer layers."""
        return self.bits, self.edge_bits

    @property
    def tuning(self) -> tuple[float, ...]:
        """What decides a student besides, given its teacher and its grid."""
        return self.tuning_steps, self.tuning_rate, self.stride, self.top, self.beta
