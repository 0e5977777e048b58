# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from sqil_training.compare_paths import NotComparable, compare, main, successes


def written(path, wins, profile='int4_rtn', seeds=10):
    episodes = [
        {'task': task, 'seed': 10000 + i, 'success': i < won, 'steps': 30}
        for task, won in wins.items()
        for i in range(seeds)
    ]
    path.write_text(json.dumps({'profile': profile, 'episodes': episodes}))
    return path


def test_chance_is_equal_and_collapse_is_not(tmp_path):
    a = written(tmp_path / 'a.json', {'lift': 10, 'stack': 8})
    b = written(tmp_path / 'b.json', {'lift': 9, 'stack': 9})
    c = written(tmp_path / 'c.json', {'lift': 10, 'stack': 0})
    out = tmp_path / 'out.json'
    assert main([str(a), str(b), '--json', str(out)]) == 0
    content = json.loads(out.read_text())
    assert content['equal'] and set(content['rows']) == {'lift', 'stack', 'all'}
    assert content['rows']['all']['agreeing'] == 18
    assert main([str(a), str(c)]) == 1


def test_interval_contains_the_difference_and_turns_with_the_sides(tmp_path):
    _, a = successes(written(tmp_path / 'a.json', {'lift': 7}))
    _, b = successes(written(tmp_path / 'b.json', {'lift': 4}))
    forth, back = compare(a, b)['all'], compare(b, a)['all']
    assert forth['interval'][0] < forth['difference'] < forth['interval'][1]
    assert forth['interval'] == pytest.approx([-x for x in reversed(back['interval'])])


def test_other_episodes_or_profiles_are_refused(tmp_path, capsys):
    a = written(tmp_path / 'a.json', {'lift': 7})
    fewer = written(tmp_path / 'b.json', {'lift': 4}, seeds=5)
    other = written(tmp_path / 'c.json', {'lift': 7}, profile='fp')
    with pytest.raises(NotComparable, match='5 episodes'):
        compare(successes(a)[1], successes(fewer)[1])
    assert main([str(a), str(other)]) == 1
    assert 'int4_rtn' in capsys.readouterr().err
    (tmp_path / 'd.json').write_text('[]')
    with pytest.raises(NotComparable, match=r'd\.json'):
        successes(tmp_path / 'd.json')
