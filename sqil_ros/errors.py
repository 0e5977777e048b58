# SPDX-License-Identifier: Apache-2.0
"""Named errors. A message says the value that was met, the limit it broke and the mend."""


class SqilError(Exception):
    """Base of every error that this package raises on purpose."""


class ContractMismatch(SqilError):
    """Two parts of the system were made for different robots, cameras or conventions."""


class ObservationError(SqilError):
    """An image, state or instruction is not what the contract promises."""


class StaleObservation(ObservationError):
    """An observation is too old to act upon."""


class ActionError(SqilError):
    """An action has the wrong shape or is not finite."""


class CheckpointError(SqilError):
    """A policy checkpoint is missing, truncated or not what it claims to be."""


class ProfileError(SqilError):
    """A quantisation profile is unknown, corrupt or does not fit the checkpoint."""


class PolicyLost(SqilError):
    """The process of a policy died or does not answer; nobody acts until the node is restarted."""


class EpisodeError(SqilError):
    """A recorded episode or an episode tree is incomplete or malformed."""


class CalibrationError(SqilError):
    """Calibration data are missing, too few or not finite."""


class ScoreError(SqilError):
    """Saliency scores are incomplete, corrupt or of another policy or data set."""


class TrainingError(SqilError):
    """A training run cannot go on: its loss is no number, or its state is of another run."""


class RobotUnreachable(SqilError):
    """The controller does not answer within its deadline."""


class RobotFault(SqilError):
    """The robot stopped, or must stop, until somebody resets it on purpose."""


class SceneError(SqilError):
    """The simulated scene cannot be built or does not know a name it was given."""


class ParameterError(SqilError):
    """A configuration value is outside its range."""


class EngineError(SqilError):
    """The native library or the GPU is missing, fails, or is asked for what it cannot do."""


class BenchError(SqilError):
    """A measurement is missing or cannot be read."""
