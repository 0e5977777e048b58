# SPDX-License-Identifier: Apache-2.0
"""What is exported: a profile that is there, or that a run is about to become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import check_checkpoint
from sqil_ros.policy.manifest import CheckpointManifest
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.manifest import Profile
from sqil_ros.quant.profile import PROFILES_DIRECTORY, find_profile, read_profile
from sqil_training.exporting.trained_run import (
    TrainedRun,
    read_run,
    run_facts,
    run_profile_name,
    trained_student,
    write_run_profile,
)


@dataclass(frozen=True)
class Lesson:
    """A run and the network that it has taught."""

    run: TrainedRun
    student: OpenVLA


@dataclass(frozen=True)
class Subject:
    """A profile, written or not.

    Attributes:
        checkpoint: directory of its full precision.
        manifest: of the checkpoint.
        contract: of the robot.
        name: of the profile.
        base: manifest of the profile, or of the one that its run began with.
        variant: what was added to the name.
        lesson: what it is made of; None for a profile that is there.
    """

    checkpoint: Path
    manifest: CheckpointManifest
    contract: Contract
    name: str
    base: Profile
    variant: tuple[str, ...] = ()
    lesson: Lesson | None = None

    @property
    def directory(self) -> Path:
        """Of the profile."""
        return self.checkpoint / PROFILES_DIRECTORY / self.name

    @property
    def student(self) -> OpenVLA | None:
        """The network that was trained; None for a profile that is there."""
        return None if self.lesson is None else self.lesson.student

    @property
    def trained_from(self) -> str:
        """Fingerprints of checkpoint and data of its run; empty where none is known."""
        if self.lesson is not None:
            return self.lesson.run.base
        facts = run_facts(self.base)
        return '' if facts is None else str(facts['base'])

    def written(self) -> Profile:
        """The profile, which is written first if it is that of a run.

        Raises:
            ProfileError: it does not read back.
        """
        if self.lesson is None:
            return self.base
        run, student = self.lesson.run, self.lesson.student
        return write_run_profile(run, student, self.checkpoint, self.contract, self.variant)


def subject_of_profile(checkpoint: Path, name: str, contract: Contract) -> Subject:
    """A profile that is there.

    Raises:
        SqilError: the checkpoint or the profile is unsound or unknown.
    """
    manifest = check_checkpoint(checkpoint, contract)
    profile = read_profile(find_profile(checkpoint, name, contract.hash))
    return Subject(checkpoint, manifest, contract, name, profile)


def subject_of_run(
    checkpoint: Path, run: Path, contract: Contract, variant: tuple[str, ...]
) -> Subject:
    """The profile that a run becomes.

    Raises:
        SqilError: run and checkpoint do not belong together, or one is unsound.
    """
    manifest = check_checkpoint(checkpoint, contract)
    found = read_run(run)
    settings = found.settings
    base = read_profile(find_profile(checkpoint, settings.profile, contract.hash))
    lesson = Lesson(found, trained_student(run, found, checkpoint, contract))
    name = run_profile_name(settings, base, variant)
    return Subject(checkpoint, manifest, contract, name, base, variant, lesson)
