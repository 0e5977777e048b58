# SPDX-License-Identifier: Apache-2.0
"""Command lines and tables."""

from __future__ import annotations

import pytest
from sqil_training.dmc import table
from sqil_training.dmc.__main__ import main

RESULT = {
    'settings': {'bits': 4, 'edge_bits': 8, 'seeds': 3, 'episodes': 10},
    'tasks': {
        'cartpole_balance': {
            'expert': {'return_per_1000_steps': 950.4},
            'methods': {
                'fp': {'mean': 900.0, 'interval': [880.0, 920.0], 'share': 1.0},
                'sqil': {
                    'mean': 810.0,
                    'interval': [700.0, 850.0],
                    'share': 0.9,
                    'share_interval': [0.8, 0.95],
                },
            },
        }
    },
}


def test_a_table_has_a_row_for_every_task_and_says_what_misses_the_bar():
    rows = table.table(RESULT).splitlines()
    assert rows[0] == '| task | expert | fp | sqil | sqil / fp |'
    assert rows[2] == (
        '| cartpole_balance | 950 | 900 [880, 920] | 810 [700, 850] '
        '| 90.0% [80.0%, 95.0%], **below the bar** |'
    )


def test_the_document_shows_the_committed_results():
    assert table.main(['--check']) == 0, 'run python -m sqil_training.dmc.table'


@pytest.mark.parametrize(
    'words, complaint',
    [
        (['--tasks', 'cartpole_fly'], "'cartpole_fly' is no task"),
        (['--seeds', '0'], 'seeds is 0; it must be at least 1'),
    ],
)
def test_what_does_not_fit_is_refused(words, complaint, tmp_path, capsys):
    assert main([*words, '--out', str(tmp_path)]) == 1
    assert complaint in capsys.readouterr().err
