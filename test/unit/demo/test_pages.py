# SPDX-License-Identifier: Apache-2.0
"""Report, charts, output folder, and the view's server."""

import json
import re
import threading
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.demo.film import strip
from sqil_ros.demo.folder import OutputFolder
from sqil_ros.demo.outcome import Outcome, result
from sqil_ros.demo.report import report
from sqil_ros.errors import ParameterError
from sqil_ros.provenance import provenance
from sqil_ros.report.charts import histogram, interval_bar, nice_ceiling
from sqil_ros.view.server import ViewServer

VOID = {'meta', 'img', 'link', 'br'}


class Balance(HTMLParser):
    """Fails on a tag that is closed but not open, and collects what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.pictures = [], [], 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ('src', 'href') if name in attributes]
        self.pictures += tag == 'img'
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(page):
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    return parser


def outcomes():
    film = strip([np.zeros((16, 16, 3), np.uint8)])
    return [
        Outcome('cup_plate', 10000, True, 40, 8.1, (30.0, 50.0), films=(film, film)),
        Outcome('lift_eggplant', 10000, False, 3, 0.6, (), '<b>fault</b>', (film, film)),
    ]


def test_report_is_complete_and_needs_nothing_from_elsewhere():
    content = result(outcomes(), 'int4_rtn', 133, 2) | {'provenance': provenance(['-m', 'x'])}
    page = report(outcomes(), content)
    parser = checked(page)
    assert parser.pictures == 4
    assert all(link.startswith('data:image/jpeg;base64,') for link in parser.links)
    assert not re.search(r'https?://|@import|url\(', page)
    assert '&lt;b&gt;fault' in page and '<b>fault' not in page
    for words in ('1/2', 'int4_rtn', 'put the cup into the plate', 'of 135 control ticks'):
        assert words in page, words


def test_report_without_any_action():
    nothing = [Outcome('cup_plate', 10000, False, 0, 0.0)]
    page = report(nothing, result(nothing, 'fp', 0, 0) | {'provenance': provenance(['-m', 'x'])})
    checked(page)
    assert 'There was no action' in page


@given(st.lists(st.floats(0.1, 5000.0), min_size=1, max_size=200))
def test_histogram_counts_every_value(values):
    svg = ET.fromstring(histogram(values, {'p50': float(np.median(values))}, 'ms'))
    counts = [int(title.text.rsplit(' ', 1)[1]) for title in svg.iter('title')]
    assert sum(counts) == len(values)


@given(st.floats(1e-3, 1e6))
def test_the_axis_ends_above_the_value_but_not_far(value):
    assert value * (1 - 1e-8) <= nice_ceiling(value) <= 2.5 * value


def test_interval_bar_is_drawn_to_scale():
    svg = ET.fromstring(interval_bar(0.5, 0.25, 1.0))
    _, interval = svg.findall('rect')
    assert float(interval.get('x')) == pytest.approx(4 + 192 * 0.25)
    assert float(interval.get('width')) == pytest.approx(192 * 0.75)


def test_folder_is_emptied_of_what_a_demo_wrote_and_of_nothing_else(tmp_path):
    out = OutputFolder(tmp_path / 'demo')
    out.prepare()
    out.bag.mkdir()
    (out.bag / 'metadata.yaml').write_text('x')
    (out.bag / 'bag.mcap').write_text('x')
    out.result.write_text('{}')
    mine = out.path / 'notes.txt'
    mine.write_text('keep')
    out.prepare()
    assert not out.bag.exists() and not out.result.exists() and mine.read_text() == 'keep'
    out.bag.mkdir()
    (out.bag / 'thesis.tex').write_text('x')
    with pytest.raises(ParameterError, match=r'thesis\.tex'):
        out.prepare()
    assert (out.bag / 'thesis.tex').exists()


class FakeSource:
    def __init__(self):
        self.image = None

    def picture(self, camera):
        return self.image

    def state(self):
        return {'policy': None, 'episodes': []}


@pytest.fixture
def served():
    source = FakeSource()
    with ViewServer(source, ['image', 'wrist'], '127.0.0.1', 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield source, f'http://127.0.0.1:{server.server_address[1]}'
        server.shutdown()
        thread.join()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.headers['Content-Type'], answer.read()


def test_view_serves_page_state_and_pictures(served):
    source, url = served
    kind, page = get(url)
    parser = checked(page.decode())
    assert kind.startswith('text/html') and parser.pictures == 2
    assert not re.search(rb'https?://|@import|url\(', page)
    assert json.loads(get(f'{url}/state.json')[1]) == source.state()
    source.image = np.full((24, 32, 3), (250, 10, 10), np.uint8)
    kind, data = get(f'{url}/camera/wrist.jpg?123')
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert kind == 'image/jpeg' and picture.shape == (24, 32, 3)
    assert picture[12, 16, 2] > 200 > 100 > picture[12, 16, 0]  # red stayed red


@pytest.mark.parametrize('path', ['camera/image.jpg', 'camera/other.jpg', 'etc/passwd', '../x'])
def test_view_has_nothing_else(served, path):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        get(f'{served[1]}/{path}')
    assert refusal.value.code == 404


def test_a_taken_port_is_refused_with_the_mend(served):
    port = int(served[1].rsplit(':', 1)[1])
    with pytest.raises(ParameterError, match='--port'):
        ViewServer(FakeSource(), [], '127.0.0.1', port)
