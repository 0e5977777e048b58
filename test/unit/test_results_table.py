# SPDX-License-Identifier: Apache-2.0
"""The README says what the result files say."""

import json

from sqil_training.results_table import filled, main, results_text


def test_the_readme_is_up_to_date():
    assert main(['--check']) == 0, 'run python -m sqil_training.results_table'


def test_a_result_becomes_a_row_with_its_interval(tmp_path):
    tasks = {'lift_eggplant': {'successes': 9, 'episodes': 10}}
    content = {'success': 0.9, 'interval': [0.6, 0.98], 'tasks': tasks}
    (tmp_path / 'int4.json').write_text(json.dumps(content))
    (tmp_path / 'other.json').write_text('{"frames": 3}')
    text = results_text(tmp_path)
    assert '9/10' in text and '90.0% [60.0%, 98.0%]' in text and 'other' not in text


def test_a_comparison_becomes_a_row_with_a_column_for_every_method(tmp_path):
    shares = {'fp': 0.97, 'int2_rtn': 0.0, 'int2_sqil_merged_long': 0.955, 'int2_other': 0.1}
    profiles = [
        {'profile': name, 'success': share, 'episodes': [{}] * 8} for name, share in shares.items()
    ]
    content = {'condition': {}, 'tests': [], 'profiles': profiles}
    (tmp_path / 'int2_long.json').write_text(json.dumps(content))
    row = results_text(tmp_path).splitlines()[-1]
    assert row.startswith('| [int2_long](docs/results/int2_long.md) | 8 | 97.0% | 0.0% | – |')
    assert '95.5%' in row and '10.0%' not in row


def test_a_method_of_several_training_seeds_stands_with_its_mean(tmp_path):
    shares = {'int2_sqil_merged_seed1': 0.9, 'int2_sqil_merged_seed2': 0.94, 'fp': 0.97}
    profiles = [
        {'profile': name, 'success': share, 'episodes': [{}] * 8} for name, share in shares.items()
    ]
    (tmp_path / 'int2.json').write_text(json.dumps({'tests': [], 'profiles': profiles}))
    row = results_text(tmp_path).splitlines()[-1]
    assert row.endswith('| 97.0% | – | – | – | – | 92.0% | – |')


def test_only_the_part_between_the_markers_changes():
    readme = 'a\n<!-- results: begin -->\nold\n<!-- results: end -->\nz\n'
    once = filled(readme, 'new')
    assert once == 'a\n<!-- results: begin -->\nnew\n<!-- results: end -->\nz\n'
    assert filled(once, 'new') == once
