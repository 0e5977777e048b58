# SPDX-License-Identifier: Apache-2.0
"""A configured policy: proven, ready to act, and able to change its profile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqil_ros.align import TickClock
from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError
from sqil_ros.observation import FreshnessLimits
from sqil_ros.policy.loader import check_profile, checkpoint_directory, has_logits, module_of
from sqil_ros.policy.nursery import Nursery
from sqil_ros.policy.own_process import PolicyProcess
from sqil_ros.policy.selftest import SelfTest, sample_images, self_test
from sqil_ros.policy_loop import PolicyLoop, Step
from sqil_ros.quant.swap import ProfileSlot, SwapStatus
from sqil_ros.timing import LatencyWindow, StageLatency
from sqil_ros.types import Image

TOTAL = 'image_to_command'


@dataclass(frozen=True)
class PolicyParams:
    """What a session is made from; ``sqil_ros.nodes.policy_parameters`` describes each field."""

    contract: Contract
    checkpoint: str
    profile: str = 'fp'
    device: str = 'cpu'
    threads: int = 1
    engine: str = 'auto'
    camera_rate_hz: float = 15.0
    image_timeout_ms: float = 300.0
    sample_timeout_ms: float = 300.0
    patience_ms: float = 30.0
    chunk_steps: int = 0
    latency_window: int = 500
    saliency_period_s: float = 0.0
    saliency_grid: int = 4
    saliency_device: str = 'cpu'

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise ParameterError(
                "Parameter checkpoint is ''; set it to the directory of a trained policy or to "
                'builtin:image_mean.'
            )
        if self.threads < 1:
            raise ParameterError(f'Parameter threads is {self.threads}; use at least 1.')


class PolicySession:
    """The policy between *configure* and *cleanup*."""

    def __init__(
        self,
        params: PolicyParams,
        now_ns: Callable[[], int],
        on_swap: Callable[[SwapStatus], None],
    ) -> None:
        """Load the policy and make it prove itself.

        Args:
            params: which policy, and the limits it works under.
            now_ns: clock of the image stamps.
            on_swap: called, on a thread of its own, whenever a profile swap makes progress.

        Raises:
            SqilError: the policy is unfit for this robot, or it fails its self-test.
        """
        self._params = params
        check_profile(params.checkpoint, params.profile, params.contract)
        self._samples = sample_images(params.contract, checkpoint_directory(params.checkpoint))
        self._nursery = Nursery(module_of(params.checkpoint))
        try:
            policy = self._start_acting(params.profile)
            self.self_test = _proven(policy, self._samples, repeats=5)
        except Exception:
            self._nursery.close()
            raise
        self.description = policy.describe()
        self.loop = PolicyLoop(
            params.contract,
            TickClock.from_rates(params.contract.rate_hz, params.camera_rate_hz),
            FreshnessLimits(params.image_timeout_ms, params.sample_timeout_ms),
            now_ns,
            params.patience_ms,
            params.chunk_steps,
        )
        self._window = LatencyWindow(params.latency_window)
        self._window_access = threading.Lock()
        self._policy = policy
        self._slot: ProfileSlot[PolicyProcess] = ProfileSlot(
            policy.profile, policy, validate=self._validate, load=self._load, on_change=on_swap
        )

    @property
    def params(self) -> PolicyParams:
        """What this session was made from."""
        return self._params

    @property
    def contract(self) -> Contract:
        """What this session's robot follows."""
        return self._params.contract

    @property
    def swap(self) -> SwapStatus:
        """What the profile slot is doing."""
        return self._slot.status

    def request_profile(self, profile: str) -> None:
        """Begin to swap to another profile.

        Raises:
            ProfileError: it is refused; the present one stays.
        """
        self._slot.request(profile)

    def take_policy(self) -> PolicyProcess:
        """The policy for the next step; another profile takes over here and nowhere else.

        Raises:
            PolicyLost: its process died; an arm should not wait for the next tick to hear of it.
        """
        policy = self._slot.take()
        policy.require_alive()
        if policy is not self._policy:
            # Ending a process takes longer than a tick should wait.
            threading.Thread(target=self._policy.close, daemon=True).start()
            self._policy = policy
            self.description = policy.describe()
            with self._window_access:
                self._window.clear()
        return policy

    def open_copy(self, profile: str) -> PolicyProcess:
        """Another copy of the policy, in the background, for who wants to see what it looks at.

        May be called from any thread; the caller closes it.

        Raises:
            ParameterError: the policy has no logits, so that nothing can be seen.
            SqilError: it cannot be loaded.
        """
        params = self._params
        if not has_logits(params.checkpoint):
            raise ParameterError(
                f'{params.checkpoint} answers without logits, so that it has no saliency; set '
                'saliency.period_s to 0 or name the directory of a trained policy.'
            )
        # Native code does not give logits.
        return self._start(profile, params.saliency_device, 1, 'torch', background=True)

    def record(self, step: Step, total_ms: float) -> None:
        """Count a step whose action left ``total_ms`` after its image."""
        with self._window_access:
            self._window.add({**step.spans, TOTAL: total_ms})

    def latency(self) -> dict[str, StageLatency]:
        """Percentiles per stage for the present profile."""
        with self._window_access:
            return self._window.summary()

    def close(self) -> None:
        """Call off a swap and let the policy go."""
        self._slot.close()
        self._policy.close()
        self._nursery.close()

    def _validate(self, profile: str) -> None:
        check_profile(self._params.checkpoint, profile, self._params.contract)

    def _load(self, profile: str, obsolete: Callable[[], bool]) -> PolicyProcess:
        policy = self._start_acting(profile)
        if obsolete():
            policy.close()
        else:
            _proven(policy, self._samples, repeats=2)
        return policy

    def _start_acting(self, profile: str) -> PolicyProcess:
        params = self._params
        return self._start(profile, params.device, params.threads, params.engine)

    def _start(
        self, profile: str, device: str, threads: int, engine: str, background: bool = False
    ) -> PolicyProcess:
        params = self._params
        return PolicyProcess(
            self._nursery,
            params.checkpoint,
            profile,
            params.contract,
            device,
            threads,
            engine,
            background,
        )


def _proven(policy: PolicyProcess, samples: Sequence[Image], repeats: int) -> SelfTest:
    """What the self-test found; a policy that fails it is ended."""
    try:
        return self_test(policy, samples, repeats=repeats)
    except Exception:
        policy.close()
        raise
