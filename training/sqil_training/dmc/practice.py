# SPDX-License-Identifier: Apache-2.0
"""How the expert comes about: soft actor-critic (Haarnoja et al., 2018) of stable-baselines3.

The only module that imports it. A planner would need no training, but its answer hangs on the plan
that it had before: from two of its answers to one state a policy learns their mean, which is no
answer. A network that learned has one answer for a state.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from sqil_ros.errors import SceneError
from sqil_ros.types import Array
from sqil_training.dmc.expert import Expert
from sqil_training.dmc.world import STEPS, World

FIRST_SEED = 1_000_000
"""Seeds from here up are for practice."""
_WARM_UP = 2_000
_ROUND = 10_000
_SEEDS_OF_A_WORLD = 10_000
_FIRST_TRIAL = 2_000_000


@dataclass(frozen=True)
class Practice:
    """How an expert learns.

    Attributes:
        steps: control steps, over all worlds.
        worlds: that it acts in at the same time.
        updates: of its networks, for every control step.
        hidden: width of the two hidden layers of actor and critics.
        rate: learning rate of Adam.
        batch: transitions of an update.
        trials: episodes that judge the actor after every round of 10,000 control steps; the best
            actor of all rounds is the expert, for one that can balance may learn to drift.
    """

    steps: int
    worlds: int = 8
    updates: float = 0.5
    hidden: int = 128
    rate: float = 1e-3
    batch: int = 256
    trials: int = 4


def practise(
    make_world: Callable[[], World],
    merit: Callable[[Array], float],
    practice: Practice,
    report: Callable[[int, float], None],
) -> nn.Sequential:
    """Learn from scratch; the same chance on the same machine gives the same network.

    Args:
        make_world: loads a world.
        merit: (nq + nv,) state to what is strived for.
        practice: how.
        report: told the control steps done and what the actor then earned in an episode.

    Raises:
        SceneError: stable-baselines3 is not installed.
    """
    gymnasium, baselines = _libraries()
    trial, *worlds = [make_world() for _ in range(1 + practice.worlds)]
    learner = baselines.SAC(
        'MlpPolicy',
        baselines.common.vec_env.DummyVecEnv(
            [_environment(gymnasium, world, merit, index) for index, world in enumerate(worlds)]
        ),
        learning_rate=practice.rate,
        batch_size=practice.batch,
        train_freq=1,
        gradient_steps=max(1, round(practice.worlds * practice.updates)),
        learning_starts=_WARM_UP,
        policy_kwargs={'net_arch': [practice.hidden, practice.hidden]},
        device='cpu',
        seed=0,
    )
    actor = nn.Sequential(*learner.actor.latent_pi, learner.actor.mu, nn.Tanh())
    best, most = copy.deepcopy(actor), -math.inf
    while learner.num_timesteps < practice.steps:
        learner.learn(
            min(_ROUND, practice.steps - learner.num_timesteps), reset_num_timesteps=False
        )
        earned = _earned(Expert(actor), trial, merit, practice.trials)
        if earned > most:
            best, most = copy.deepcopy(actor), earned
        report(learner.num_timesteps, earned)
    return best


def _environment(
    gymnasium: ModuleType, world: World, merit: Callable[[Array], float], index: int
) -> Callable[[], Any]:
    """What makes one of the worlds an environment of the library."""
    size = len(world.reset(FIRST_SEED))

    class Environment(gymnasium.Env):  # type: ignore[name-defined]
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (world.action_size,), np.float32)
        episode, taken = 0, 0

        def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
            seed = FIRST_SEED + index * _SEEDS_OF_A_WORLD + self.episode
            self.episode, self.taken = self.episode + 1, 0
            return world.reset(seed).astype(np.float32), {}

        def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            observation, _ = world.step(action)
            self.taken += 1
            over = self.taken >= STEPS
            return observation.astype(np.float32), merit(world.state), False, over, {}

    return Environment


def _earned(expert: Expert, world: World, merit: Callable[[Array], float], trials: int) -> float:
    """The mean merit of an episode, from the same states whenever it is asked."""
    total = 0.0
    for index in range(trials):
        observation = world.reset(_FIRST_TRIAL + index)
        for _ in range(STEPS):
            observation, _ = world.step(expert.act(observation))
            total += merit(world.state)
    return total / trials


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import gymnasium
        import stable_baselines3
        import stable_baselines3.common.vec_env
    except ModuleNotFoundError as error:
        raise SceneError(f"{error}; install the extra with: pip install '.[dmc]'") from error
    return gymnasium, stable_baselines3
