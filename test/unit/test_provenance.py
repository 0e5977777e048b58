# SPDX-License-Identifier: Apache-2.0
"""Result files can be traced and do not tell where they were made."""

from __future__ import annotations

import json

from sqil_ros.provenance import provenance
from sqil_ros.share import share_directory


def test_the_command_is_what_a_reader_would_type() -> None:
    script = provenance(['/anywhere/bin/sqil-eval', '--json', f'{share_directory()}/out/a.json'])
    assert script['command'] == 'sqil-eval --json out/a.json'
    assert provenance(['-m', 'some.module', '-n', '3'])['command'] == 'python -m some.module -n 3'


def test_data_elsewhere_on_the_machine_is_told_by_its_name() -> None:
    words = ['-m', 'some.module', '--data', '/home/somebody/data/held', '--json', 'out/a.json']
    assert provenance(words)['command'] == 'python -m some.module --data held --json out/a.json'


def test_it_says_what_is_needed_to_repeat() -> None:
    found = provenance()
    assert len(found['commit']) in (0, 40)
    assert found['versions']['numpy']
    assert found['machine']['cores'] >= 1
    assert found['machine']['load'] >= 0.0
    assert json.loads(json.dumps(found)) == found
