# SPDX-License-Identifier: Apache-2.0
"""Every choice of a fine-tuning run, and the presets that name whole sets of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sqil_ros.errors import ParameterError
from sqil_training.finetune.adapters import BESIDE, MERGED
from sqil_training.finetune.objective import DISTANCES, OBJECTIVES
from sqil_training.precision import BFLOAT16, FLOAT32

TOP, RAW = 'top', 'raw'


@dataclass(frozen=True)
class FinetuneSettings:
    """Hyper-parameters; the defaults are those of ``configs/toy_sink.yaml``.

    Attributes:
        method: a key of :data:`~sqil_training.finetune.objective.OBJECTIVES`.
        profile: the profile whose integers the student starts from.
        adapter: ``beside`` (the paper's) or ``merged`` (integers alone).
        rank: of the low-rank change.
        alpha: its scale is alpha / rank.
        dropout: on the inputs of the low-rank change.
        distance: D of the distillation term.
        weighting: ``top`` lets the salient states count beta times, ``raw`` every state its score.
        beta: weight of salient states; 0 takes what the scores say.
        top: share of salient states; 0 takes what the scores say.
        bin_spread: width of the imitation target in bins; 0 is the paper's one-hot target.
        steps: updates.
        batch: frames of one update, over all processes together.
        learning_rate: of AdamW, constant between warm-up and cool-down.
        warm_up: updates until it is reached.
        cool_down: last updates, over which it falls to 0 in a straight line.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        jitter: exposure and contrast change by up to this share.
        precision: of the student's products, ``float32`` or ``bfloat16``; the teacher's are
            float32, and so is everything that is rounded.
        seed: of frames, jitter and first values.
        report: updates between two lines of the log.
        save: updates between two checkpoints.
        evaluate_every: updates between two looks at held-out frames; 0 for none.
    """

    method: str = 'sqil'
    profile: str = 'int3_rtn'
    adapter: str = BESIDE
    rank: int = 32
    alpha: float = 16.0
    dropout: float = 0.0
    distance: str = 'l2'
    weighting: str = TOP
    beta: float = 0.0
    top: float = 0.0
    bin_spread: float = 1.5
    steps: int = 1000
    batch: int = 32
    learning_rate: float = 5e-4
    warm_up: int = 50
    cool_down: int = 0
    weight_decay: float = 0.0
    clip: float = 1.0
    jitter: float = 0.15
    precision: str = FLOAT32
    seed: int = 0
    report: int = 25
    save: int = 200
    evaluate_every: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            ParameterError: a value is outside its range.
        """
        choices: Mapping[str, Collection[str]] = {
            'method': OBJECTIVES,
            'distance': DISTANCES,
            'adapter': (BESIDE, MERGED),
            'weighting': (TOP, RAW),
            'precision': (FLOAT32, BFLOAT16),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f'{name} is {getattr(self, name)!r}; choose one of {sorted(allowed)}.'
                )
        for name in ('rank', 'steps', 'batch', 'report', 'save', 'learning_rate', 'clip'):
            if not getattr(self, name) > 0:
                raise ParameterError(f'{name} is {getattr(self, name)}; it must be above 0.')
        for name in (
            'beta',
            'top',
            'jitter',
            'bin_spread',
            'warm_up',
            'cool_down',
            'weight_decay',
            'dropout',
            'evaluate_every',
        ):
            if not getattr(self, name) >= 0:
                raise ParameterError(f'{name} is {getattr(self, name)}; it must be 0 or more.')


def read_preset(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, by name.

    Raises:
        ParameterError: it is no mapping of known settings with values of their types.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise ParameterError(f'Preset {path} cannot be read ({error}); check the path.') from error
    kinds: dict[str, type[Any]] = {
        entry.name: type(entry.default) for entry in dataclasses.fields(FinetuneSettings)
    }
    if not isinstance(values, dict) or (unknown := values.keys() - kinds):
        raise ParameterError(
            f'Preset {path} must map names of settings to values'
            f'{f"; it has unknown {sorted(unknown)}" if isinstance(values, dict) else ""}. '
            f'Settings are {", ".join(kinds)}.'
        )
    for name, value in values.items():
        kind = kinds[name]
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ParameterError(
                f'Preset {path}: {name} is {value!r}; it must be of type {kind.__name__}.'
            )
    return {name: kinds[name](value) for name, value in values.items()}
