# SPDX-License-Identifier: Apache-2.0
"""The filter that every action passes before it becomes a target (the checks of the action rate).

A pure function: the robot node and the in-process simulation call it with the same arguments and
get the same target. It is not a safety-rated function; the controller's own safety system is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from sqil_ros.geometry import apply_delta
from sqil_ros.safety.checks import FAULT_OF_DROPS, Check, Fault, Stop, Verdict
from sqil_ros.safety.joints import joint_step
from sqil_ros.safety.limits import SafetyLimits
from sqil_ros.safety.memory import FilterMemory
from sqil_ros.safety.wire import SafetyContext, wire_refusal
from sqil_ros.safety.workspace import clamp_to_box, largest_rotation, largest_translation
from sqil_ros.types import Action, Array, Pose


@dataclass(frozen=True)
class FilterResult:
    """What became of an action.

    Attributes:
        verdict: PASS, CLAMP, DROP or STOP.
        target: the new commanded pose; the old one where the action was not accepted.
        gripper: commanded opening, 0 or 1.
        flags: every check that acted.
        message: value, limit and mend; empty for PASS.
        fault: what a STOP latches.
        memory: to be passed with the next action.
    """

    verdict: Verdict
    target: Pose
    gripper: float
    flags: tuple[Check, ...]
    message: str
    fault: Fault | None
    memory: FilterMemory

    @property
    def accepted(self) -> bool:
        """Whether ``target`` is to be executed."""
        return self.verdict <= Verdict.CLAMP


def filter_action(
    action: Action, context: SafetyContext, memory: FilterMemory, limits: SafetyLimits
) -> FilterResult:
    """Judge one action.

    A legal action passes unchanged, bit for bit: its target is ``apply_delta(target, delta)``.
    """
    refusal = wire_refusal(action, context, memory, limits)
    if refusal is not None:
        return _dropped(*refusal, context, memory, limits)
    memory = memory.in_episode(context.episode, context.now_s)
    end = _ended(context.now_s, memory, limits)
    if end is not None:
        return _stopped(end, context, memory)

    delta, flags = _shortened(action.delta, context.now_s, memory, limits)
    delta, flags = _confined(delta, flags, context.target, limits)
    seed = context.joints if memory.joints is None else memory.joints
    last = np.zeros(6) if memory.joint_step is None else memory.joint_step
    step = joint_step(context.target, delta, seed, last, limits)
    if step.joints is None:
        return _dropped(step.check or Check.KINEMATICS, step.message, context, memory, limits)
    if step.check is not None:
        delta, flags = _confined(
            delta * step.fraction, (*flags, step.check), context.target, limits
        )
    gripper, kept_back = _gripper(action.gripper, context.now_s, memory, limits)
    if kept_back:
        flags = (*flags, Check.GRIPPER)

    toggled = gripper != memory.gripper
    after = dataclasses.replace(
        memory.counted(dict.fromkeys(flags)),
        sequence=context.sequence,
        drops=0,
        joints=step.joints,
        joint_step=step.joints - seed,
        gripper=gripper,
        toggles_s=(*_recent_toggles(context.now_s, memory), context.now_s)
        if toggled
        else memory.toggles_s,
        first_s=context.now_s if memory.first_s is None else memory.first_s,
        steps=memory.steps + 1,
    ).observed(context.now_s, context.measured, action.delta, toggled, limits)
    flags = tuple(dict.fromkeys(flags))
    return FilterResult(
        Verdict.CLAMP if flags else Verdict.PASS,
        apply_delta(context.target, delta),
        gripper,
        flags,
        f'Shortened by {", ".join(flag.label for flag in flags)}.' if flags else '',
        None,
        after,
    )


def _ended(now_s: float, memory: FilterMemory, limits: SafetyLimits) -> Stop | None:
    """Checks 19 and 20: what ends an episode whatever the next action is."""
    stuck = memory.stuck_s(now_s)
    if stuck > limits.stuck_s:
        return Stop(
            Check.PROGRESS,
            Fault.STUCK,
            f'No progress for {stuck:.1f} s of commanded motion, limit {limits.stuck_s:g} s; '
            'clear the way or restart the episode.',
        )
    if memory.flips() > limits.flips_per_s:
        return Stop(
            Check.PROGRESS,
            Fault.OSCILLATION,
            f'{memory.flips()} reversals in a second, limit {limits.flips_per_s}; check the '
            'policy.',
        )
    duration = 0.0 if memory.episode_s is None else now_s - memory.episode_s
    if duration > limits.episode_s or 0 < limits.episode_steps <= memory.steps:
        return Stop(
            Check.EPISODE,
            Fault.EPISODE_LIMIT,
            f'Episode of {duration:.0f} s and {memory.steps} steps; limits {limits.episode_s:g} s '
            f'and {limits.episode_steps or "no"} steps. Start a new episode.',
        )
    return None


def _shortened(
    delta: Array, now_s: float, memory: FilterMemory, limits: SafetyLimits
) -> tuple[Array, tuple[Check, ...]]:
    """Checks 7, 8 and 23: each part of the step kept to its length, speed and the ramp-in."""
    age = None if memory.first_s is None else now_s - memory.first_s
    first = min(1.0, limits.first_step_m / limits.step_m)
    done = 0.0 if age is None else 1.0 if age >= limits.ramp_s else age / limits.ramp_s
    ramp = first + (1.0 - first) * done
    parts, flags = [], []
    for part, step, speed in zip(
        (delta[:3], delta[3:]), limits.step_limits, limits.speed_limits, strict=True
    ):
        length = float(np.linalg.norm(part))
        allowed = length
        for check, limit in (
            (Check.STEP, step),
            (Check.TCP_SPEED, speed),
            (Check.START_UP, step * ramp if ramp < 1.0 else step),
        ):
            if allowed > limit:
                allowed = limit
                flags.append(check)
        parts.append(part if allowed == length else part * (allowed / length))
    return np.concatenate(parts), tuple(flags)


def _confined(
    delta: Array, flags: tuple[Check, ...], start: Pose, limits: SafetyLimits
) -> tuple[Array, tuple[Check, ...]]:
    """Checks 11, 10 and 12: the step kept inside the cone, the workspace and the reach."""
    turn = largest_rotation(start, delta, limits)
    if turn < 1.0:
        delta = np.concatenate([delta[:3], delta[3:] * turn])
        flags = (*flags, Check.ORIENTATION)
    end = apply_delta(start, delta)
    inside = clamp_to_box(start, end, limits)
    if inside is not end:
        turned = delta[3:] if inside.quaternion is end.quaternion else np.zeros(3)
        delta = np.concatenate([inside.position - start.position, turned])
        flags = (*flags, Check.WORKSPACE)
    share, check = largest_translation(start, delta, limits)
    if check is not None:
        delta = np.concatenate([delta[:3] * share, delta[3:]])
        flags = (*flags, check)
    return delta, flags


def _gripper(
    wanted: float, now_s: float, memory: FilterMemory, limits: SafetyLimits
) -> tuple[float, bool]:
    """Check 18: commanded opening 0 or 1, and whether it is not what was asked for."""
    if wanted >= limits.gripper_open_above:
        opening = 1.0
    elif wanted <= limits.gripper_close_below:
        opening = 0.0
    else:
        opening = memory.gripper
    outside = not 0.0 <= wanted <= 1.0
    if opening == memory.gripper:
        return opening, outside
    recent = _recent_toggles(now_s, memory)
    too_soon = bool(recent) and now_s - recent[-1] < limits.gripper_dwell_s
    if too_soon or len(recent) >= limits.gripper_toggles_per_s:
        return memory.gripper, True
    return opening, outside


def _recent_toggles(now_s: float, memory: FilterMemory) -> tuple[float, ...]:
    return tuple(when for when in memory.toggles_s if when > now_s - 1.0)


def _dropped(
    check: Check,
    message: str,
    context: SafetyContext,
    memory: FilterMemory,
    limits: SafetyLimits,
) -> FilterResult:
    """Ignore an action; enough of them in a row stop the arm."""
    drops = memory.drops + 1
    after = dataclasses.replace(memory.counted((check,)), drops=drops)
    stop = drops >= limits.drops_to_stop
    return FilterResult(
        Verdict.STOP if stop else Verdict.DROP,
        context.target,
        memory.gripper,
        (check,),
        f'{message} ({drops} dropped in a row)' if stop else message,
        FAULT_OF_DROPS[check] if stop else None,
        after,
    )


def _stopped(stop: Stop, context: SafetyContext, memory: FilterMemory) -> FilterResult:
    return FilterResult(
        Verdict.STOP,
        context.target,
        memory.gripper,
        (stop.check,),
        stop.message,
        stop.fault,
        memory.counted((stop.check,)),
    )
