# SPDX-License-Identifier: Apache-2.0
"""Time on the GPU's own clock, candidates in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from sqil_ros.types import Array

WARM_UP = 5


def gpu_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Array]:
    """Milliseconds of every candidate and round, between two events of the GPU.

    Round i of all candidates lies next to each other in time; the first ``WARM_UP`` do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(WARM_UP + rounds):
        for name, work in works.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            work()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: np.array(found[WARM_UP:]) for name, found in times.items()}


def graph_of(work: Callable[[], object]) -> Callable[[], None]:
    """What ``work`` launches as one CUDA graph, so that launching takes no part in its time."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work()  # what is compiled or chosen at first
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
