# SPDX-License-Identifier: Apache-2.0
"""Pages that follow from committed results, and notice when they no longer do."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from sqil_training.comparison import figures, paired_tests
from sqil_training.report import comparisons, main, pages
from sqil_training.rollout import Outcome

STATES = [(task, seed) for seed in range(20) for task in ('lift', 'stack')]


@pytest.fixture
def result(tmp_path):
    results = {
        name: [Outcome(t, s, i < wins, 30, 1.0, 0.0, (10,)) for i, (t, s) in enumerate(STATES)]
        for name, wins in (('int3_<new>', 39), ('int3_rtn', 24))
    }
    rows = [
        {'profile': name, 'disk_bytes': 3_100_000}
        | figures(outcomes, None, 0.2)
        | {'made_by': {'command': 'sqil-eval --compare x', 'commit': 'abcdef0123456789'}}
        for name, outcomes in results.items()
    ]
    condition = {'tasks': ['lift', 'stack'], 'seeds': list(range(20000, 20020))}
    tests = paired_tests('int3_<new>', results)
    path = tmp_path / 'widths.json'
    path.write_text(json.dumps({'condition': condition, 'tests': tests, 'profiles': rows}))
    return path


def test_the_page_says_what_the_file_says(result):
    page = pages(result)[result.with_suffix('.md')]
    assert '| int3_rtn | 60.0% [44.6%, 73.7%] | 60.0% | 60.0% |' in page
    assert '+37.5%' in page and 'significant' in page
    assert 'seeds 20000 to 20019' in page and '3.10' in page
    assert '`sqil-eval --compare x` at abcdef012345' in page
    assert page.index('| int3_<new> |') < page.index('| int3_rtn |')


def test_what_was_measured_beside_success_has_a_table(result):
    page = pages(result)[result.with_suffix('.md')]
    assert 'Beside success' not in page
    content = json.loads(result.read_text())
    near = {'action_error': 0.0123, 'gripper_agreement': 0.5}
    content['profiles'][1]['beside'] = {
        'open_loop': {
            'frames': 7, 'to_demonstration': near, 'to_full': near, 'to_full_weighted': None,
        },
        'latency': {'p50_ms': 4.0, 'p99_ms': 9.0, 'ratio_full': 2.5, 'back_end': 'cpu'},
    }  # fmt: skip
    result.write_text(json.dumps(content))
    page = pages(result)[result.with_suffix('.md')]
    row = '| int3_rtn | 0.0123 | 0.0123 | – | 50.00% | 4.0 | 9.0 | 2.50 | cpu |'
    assert row in page and 'on 7 held-out frames' in page


def test_an_ablation_has_a_table_for_every_choice(result):
    content = json.loads(result.read_text())
    rows = [{'value': '2', 'profile': 'int3_<new>'}, {'value': '4', 'profile': 'int3_rtn'}]
    content['tables'] = [{'knob': 'beta', 'meaning': 'weight', 'rows': rows}]
    content['study'] = {'command': 'python -m study', 'commit': 'abc'}
    result.write_text(json.dumps(content))
    page = pages(result)[result.with_suffix('.md')]
    assert '## beta: weight' in page
    assert '| **2** | 97.5% ' in page
    low, high = content['tests'][0]['interval']
    assert f'| 4 | 60.0% [44.6%, 73.7%] | -37.5% [{-high:+.1%}, {-low:+.1%}] |' in page
    assert page.endswith('## Made by\n\n- all of it: `python -m study`, finished at abc\n')
    content['tests'][0] |= {'difference': 0.0, 'interval': [0.0, 0.0]}
    result.write_text(json.dumps(content))
    assert '| +0.0% [+0.0%, +0.0%] |' in pages(result)[result.with_suffix('.md')]


def test_methods_of_several_seeds_have_a_table(result):
    content = json.loads(result.read_text())
    content['over_seeds'] = [{
        'a': 'int2_sqil', 'b': 'int2_qbc', 'seeds': [1, 2], 'success_a': [0.95, 0.9],
        'success_b': [0.9, 0.925], 'difference': 0.0125, 'interval': [-0.01, 0.02],
    }]  # fmt: skip
    result.write_text(json.dumps(content))
    row = '| int2_sqil | 95.0%, 90.0% | int2_qbc | 90.0%, 92.5% | 1, 2 | +1.2% [-1.0%, +2.0%] |'
    assert row in pages(result)[result.with_suffix('.md')]


def test_the_picture_is_sound_and_has_a_dot_for_every_policy(result):
    root = ElementTree.fromstring(pages(result)[result.with_suffix('.svg')])
    assert sum(node.tag.endswith('circle') for node in root.iter()) == 2
    assert 'int3_<new>' in [node.text for node in root.iter()]


def test_check_fails_until_the_pages_are_written(result):
    assert main([str(result), '--check']) == 1
    assert not result.with_suffix('.md').exists()
    assert main([str(result)]) == 0
    assert main([str(result), '--check']) == 0
    assert list(comparisons(result.parent)) == [result]


def test_another_file_is_refused_by_name(tmp_path, capsys):
    path = tmp_path / 'other.json'
    path.write_text('{"profiles": []}')
    assert main([str(path)]) == 1
    assert 'other.json is no comparison' in capsys.readouterr().err
    assert list(comparisons(tmp_path)) == []


def test_the_committed_pages_are_up_to_date():
    assert main(['--check']) == 0
