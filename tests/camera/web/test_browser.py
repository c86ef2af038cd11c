"""The page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_kit.camera.web.browser import BrowserSource
from tests.camera.web.devtools import CHROMIUM, Tab, chromium
from tests.camera.web.test_server import running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with chromium(tmp_path) as one:
        yield one


def text_of(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


def change(name: str, value: str) -> str:
    return (
        f"(() => {{ const e = document.getElementById('{name}'); {value}; e.dispatchEvent(new Event('change')); }})()"
    )


def test_frames_move_the_switch_takes_effect_and_differences_are_counted_without_a_word_on_the_console(
    tab: Tab,
) -> None:
    with running() as site:
        tab.call("Page.navigate", url=site.address)
        tab.wait(f"{text_of('legend')} === 'onnx int8'")
        before = tab.run("document.getElementById('view').toDataURL()")
        tab.wait(f"document.getElementById('view').toDataURL() !== {before!r}")
        tab.run(change("precision", "e.value = 'fp32'"))
        tab.wait(f"{text_of('legend')} === 'onnx fp32'")
        tab.run(change("compare", "e.checked = true"))
        tab.wait(f"{text_of('legend')} === 'onnx fp32onnx int8'")
        tab.wait(f"/^[1-9][0-9]* of [1-9]/.test({text_of('differing')})")
        assert tab.run("document.getElementById('plot').getContext('2d').getImageData(0, 0, 9, 119).data.some(v => v)")
        assert tab.problems == []


def test_a_choice_that_cannot_be_had_is_shown_and_the_page_shows_what_runs(tab: Tab) -> None:
    with running() as site:
        tab.call("Page.navigate", url=site.address)
        tab.wait(f"{text_of('legend')} === 'onnx int8'")
        tab.run(change("runtime", "e.value = 'mnn'"))
        tab.wait(f"{text_of('fault')} === 'mnn runs the FP32 graphs only'")
        assert tab.run("document.getElementById('runtime').value") == "onnx"


def test_it_fits_a_phone_and_follows_its_dark_mode(tab: Tab) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    ground = "getComputedStyle(document.body).backgroundColor"
    with running() as site:
        tab.call("Page.navigate", url=site.address)
        tab.wait(f"{text_of('legend')} === 'onnx int8'")
        light = tab.run(ground)
        tab.run(f"{text_of('fault')} = '/a/path/without/a/space/'.repeat(9)")
        assert tab.run("document.documentElement.scrollWidth") == 390
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert tab.run(ground) != light


def test_the_browsers_own_camera_is_a_source(tab: Tab) -> None:
    with running(BrowserSource()) as site:
        tab.call("Page.navigate", url=site.address)
        tab.wait("!document.getElementById('camera').hidden")
        tab.run("document.getElementById('camera').click()")
        tab.wait(f"{text_of('legend')} === 'onnx int8'")
        tab.wait("document.getElementById('view').width === 640")
        first = tab.run("document.getElementById('view').toDataURL()")
        tab.wait(f"document.getElementById('view').toDataURL() !== {first!r}")
        assert tab.problems == []
