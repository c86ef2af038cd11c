"""The page in a real browser: filters, points, keys, dark mode, a phone, and not a word on the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_kit.report.html import as_html
from tests.camera.web.devtools import CHROMIUM, Tab, chromium
from tests.report.documents import HOSTILE, document

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

FRONT = "document.querySelector('.plot')"
DRAWN = f"{FRONT} && {FRONT}.querySelectorAll('.scatterlayer .point').length"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(as_html(document()), encoding="utf-8")
    return path


@pytest.fixture
def tab(tmp_path: Path, place: Path) -> Iterator[Tab]:
    with chromium(tmp_path) as one:
        one.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        one.call("Page.navigate", url=place.as_uri())
        one.wait(f"{DRAWN} === 5")
        yield one


def choose(tab: Tab, name: str, value: str) -> None:
    control = f"document.querySelector('#filters [name={name}]')"
    tab.run(f"{control}.value = {value!r}; {control}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def shown(tab: Tab) -> list[str]:
    """Model, precision and runtime of the rows that are seen."""
    script = "[...document.querySelectorAll('#table tbody tr')].filter(r => r.getClientRects().length)"
    cells = f"{script}.map(r => [0, 2, 3].map(i => r.cells[i].textContent).join(' '))"
    found: list[str] = tab.run(cells)
    return found


def press(tab: Tab, key: str, code: int) -> None:
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=chr(code))


def test_it_asks_for_nothing_and_says_nothing_on_the_console(tab: Tab, place: Path) -> None:
    tab.run("for (const one of document.querySelectorAll('details')) one.open = true")
    tab.wait("[...document.querySelectorAll('.plot')].every(one => one.querySelector('svg'))")
    assert [one for one in tab.requests if not one.startswith("data:")] == [place.as_uri()]
    assert tab.problems == []


def test_the_policy_stops_what_would_leave_the_machine(tab: Tab) -> None:
    tab.run("window.told = []; document.addEventListener('securitypolicyviolation', e => told.push(e.blockedURI))")
    tab.run("fetch('http://127.0.0.1:9/').catch(() => 0); new Image().src = 'http://127.0.0.1:9/x.png'")
    tab.wait("told.length === 2")
    assert tab.run("document.querySelectorAll('a[href*=evil]').length") == 0


def test_filters_leave_out_rows_and_their_points(tab: Tab) -> None:
    assert len(shown(tab)) == 7
    choose(tab, "runtime", "openvino")
    assert shown(tab) == ["small fp32 openvino", "small int8 openvino"]
    tab.wait(f"{DRAWN} === 1")
    assert tab.run("document.getElementById('shown').textContent") == "2 of 7 rows"
    choose(tab, "runtime", "")
    choose(tab, "version", "int8")
    choose(tab, "text", "LARGE")
    assert shown(tab) == ["large int8 onnx"]
    tab.wait(f"{DRAWN} === 1")
    tab.run("document.querySelector('#filters button').click()")
    tab.wait(f"{DRAWN} === 5")
    assert len(shown(tab)) == 7
    assert tab.problems == []


def test_a_point_of_the_plot_says_its_figures_with_their_conditions(tab: Tab) -> None:
    point = f"{FRONT}.querySelectorAll('.scatterlayer .trace')[1].querySelectorAll('.point')[1].getBoundingClientRect()"
    tab.run("document.querySelector('.plot').scrollIntoView({block: 'center'})")
    x, y = tab.run(f"(() => {{ const b = {point}; return [b.x + b.width / 2, b.y + b.height / 2]; }})()")
    for step in (30, 10, 0):
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y)
    tab.wait(f"!!{FRONT}.querySelector('.hovertext')")
    told = tab.run(f"{FRONT}.querySelector('.hovertext').textContent")
    for part in ("small int8 on onnx 1.2", "top1 89.75 %", "1,000 samples", "p50 1.000 ms", "1 thread(s)", "1.00 MB"):
        assert part in told, told


def test_columns_are_sorted_by_their_headings_and_what_was_not_measured_comes_last(tab: Tab) -> None:
    heading = "document.querySelector('[data-sort=\"7\"]')"
    tab.run(f"{heading}.click()")
    assert tab.run(f"{heading}.closest('th').ariaSort") == "ascending"
    assert [one.split(" ")[0] for one in shown(tab)][0] == "small" and shown(tab)[-1] == "small int8 openvino"
    tab.run(f"{heading}.click()")
    assert shown(tab)[0] == "large fp32 onnx" and shown(tab)[-1] == "small int8 openvino"


def test_every_control_is_reached_and_works_by_keyboard(tab: Tab) -> None:
    seen: list[Any] = []
    for _ in range(40):
        press(tab, "Tab", 9)
        active = "document.activeElement"
        seen.append(tab.run(f"{active}.name || {active}.dataset.sort || {active}.className || {active}.localName"))
        if seen[-1] == "summary":
            break
    for wanted in ("skip", "text", "runtime", "version", "family", "7", "wide", "summary"):
        assert wanted in seen, (wanted, seen)
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(tab, "Enter", 13)
    tab.wait("document.activeElement.parentElement.open")


def test_a_link_of_the_table_opens_its_model_and_draws_it(tab: Tab) -> None:
    tab.run("document.querySelector('#table tbody a').click()")
    tab.wait("document.getElementById('model-0').open")
    tab.wait("[...document.querySelectorAll('#model-0 .pair .plot')].every(one => one.querySelector('svg'))")
    assert tab.run("document.querySelector('#model-0 img').naturalWidth") == 1
    assert HOSTILE in tab.run("document.querySelector('#model-0 .examples').textContent")


@pytest.mark.parametrize("width", [360, 390])
def test_it_fits_a_phone(tab: Tab, width: int) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=2, mobile=True)
    tab.run("for (const one of document.querySelectorAll('details')) one.open = true")
    tab.wait("[...document.querySelectorAll('.plot')].every(one => one.querySelector('svg'))")
    tab.wait(f"document.querySelector('.plot .main-svg').getBoundingClientRect().width < {width}")
    assert tab.run("document.documentElement.scrollWidth") == width
    small = "[...document.querySelectorAll('button, select, input')].filter(e => e.getBoundingClientRect().height < 44)"
    assert tab.run(f"{small}.length") == 0, "fingers need some room"


def test_page_and_plots_follow_dark_mode(tab: Tab) -> None:
    ground, ink = "getComputedStyle(document.body).backgroundColor", f"{FRONT}.querySelector('.xtick text').style.fill"
    before = tab.run(ground), tab.run(ink)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    tab.wait(f"{ink} !== {before[1]!r}")
    assert tab.run(ground) != before[0]
    assert tab.run(ink) == tab.run("getComputedStyle(document.body).color")


def test_a_screen_reader_is_told_what_plots_and_tables_are(tab: Tab) -> None:
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    told = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    names = {
        role: [name for kind, name in told if kind == role] for role in ("image", "table", "combobox", "searchbox")
    }
    assert any("Scatter plot of top1" in name for name in names["image"]), names
    assert any("A row each model" in name for name in names["table"]), names
    assert {"Runtime", "Precision", "Family"} <= set(names["combobox"]) and names["searchbox"] == ["Search"]
