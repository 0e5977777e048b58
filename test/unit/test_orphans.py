# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import multiprocessing, time
from sqil_training.orphans import end_with_parent

def work():
    end_with_parent()
    time.sleep(60)

if __name__ == '__main__':
    worker = multiprocessing.get_context('spawn').Process(target=work, daemon=True)
    worker.start()
    print(worker.pid, flush=True)
    time.sleep(60)
"""


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / 'parent.py'
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = Path('/proc') / parent.stdout.readline().strip()
    end_s = time.monotonic() + 20.0
    while 'spawn_main' not in (worker / 'cmdline').read_text() and time.monotonic() < end_s:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while worker.exists() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not worker.exists()
