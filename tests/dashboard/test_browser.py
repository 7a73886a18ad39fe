"""The whole way in a real browser: choose, compare, promote, export."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import closing, contextmanager
from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = os.environ.get("AUTOSEARCH_PICTURES")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the path (on Debian: apt install chromium)"
)

POINT = """(name) => {
  const node = document.querySelector(".linked-chart");
  const trace = node.data.findIndex((t) => (t.customdata || []).some((c) => c[0] === name));
  const index = node.data[trace].customdata.findIndex((c) => c[0] === name);
  const full = node._fullData.find((t) => t.index === trace);
  const { xaxis, yaxis } = node._fullLayout;
  const box = node.getBoundingClientRect();
  return [box.left + xaxis._offset + xaxis.d2p(full.x[index]),
          box.top + yaxis._offset + yaxis.d2p(full.y[index])];
}"""
SELECTED = """() => [...document.querySelectorAll(".linked-chart")].map((node) =>
  node.data.flatMap((t) => (t.selectedpoints || []).map((i) => t.customdata[i][0])))"""
RANGES = """() => [...document.querySelectorAll(".linked-chart")]
  .map((node) => node._fullLayout.yaxis.range)"""
RANGE = f"() => ({RANGES})()[0]"


@contextmanager
def served(database, *words):
    """A dashboard on a database: its address."""
    words = ["dashboard", "--storage", f"sqlite:///{database}", "--no-browser", *words]
    with subprocess.Popen(
        [sys.executable, "-m", "autosearch", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        told = process.stderr.readline()
        found = told.partition(" at ")[2].split(" ")[0]
        assert found.startswith("http://127.0.0.1:"), told
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{found}_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.25)
        try:
            yield found
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def address(searched, tmp_path_factory):
    """A dashboard that may promote, on a copy of the searched study."""
    home = tmp_path_factory.mktemp("dashboard") / "home"
    shutil.copytree(searched.folder, home)
    with served(home / "tiny.db", "--allow-promote") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser):
    opened = browser.new_page(viewport={"width": 1280, "height": 1400})
    opened.set_default_timeout(30_000)
    faults = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    opened.close()
    assert not faults


def trade_off(tab, address, study="tiny"):
    tab.goto(f"{address}trade-off?study={study}")
    tab.wait_for_selector(".linked-charts[data-ready=true]")
    tab.get_by_text("candidates remain").wait_for()


def picture(tab, name):
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def click_point(tab, name, **how):
    tab.mouse.click(*tab.evaluate(POINT, name))
    tab.wait_for_function(f"() => ({SELECTED})()[0].includes({name!r})")


def zoom(tab):
    """Drags over a part of the first chart; the range that it then shows."""
    drag = tab.locator(".linked-chart .nsewdrag").first.bounding_box()
    tab.mouse.move(drag["x"] + 40, drag["y"] + 10)
    tab.mouse.down()
    tab.mouse.move(drag["x"] + 240, drag["y"] + 120, steps=6)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    return tab.evaluate(RANGE)


def press_twice(tab, button, *, pause_ms):
    box = button.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.click(*middle)
    tab.wait_for_timeout(pause_ms)
    tab.mouse.click(*middle)


def suggested(tab):
    return tab.locator(".st-key-suggestion strong").first.inner_text()


def test_a_point_chosen_in_one_chart_is_chosen_in_the_other_and_in_the_table(tab, address):
    trade_off(tab, address)
    name = suggested(tab)
    click_point(tab, name)
    tab.get_by_text("1 selected").wait_for()
    assert tab.evaluate(SELECTED) == [[name], [name]]
    picture(tab, "trade-off")


def test_the_charts_have_the_room_that_legend_and_ticks_take(tab, address):
    tab.goto(f"{address}trade-off?study=tiny")
    tab.wait_for_selector(".linked-charts[data-ready=true]")
    # Plotly draws all points a second time where it had to widen a margin.
    widened = tab.evaluate("""() => [...document.querySelectorAll(".linked-chart")].flatMap(
      (node) => ["l", "b"].filter((s) => node._fullLayout._size[s] > node.layout.margin[s]))""")
    assert widened == []


def test_a_point_chosen_again_after_the_selection_was_cleared_is_chosen(tab, address):
    trade_off(tab, address)
    name = suggested(tab)
    for _ in range(2):
        click_point(tab, name)
        tab.get_by_text("1 selected").wait_for()
        tab.get_by_test_id("stBaseButton-tertiary").get_by_text("Clear selection").click()
        tab.get_by_text("1 selected").wait_for(state="hidden")
        tab.wait_for_function(f"() => ({SELECTED})().every((names) => !names.length)")


def test_another_study_begins_with_its_own_charts_and_without_a_zoom(tab, maker, tmp_path):
    for study, latency in (("one cost", None), ("two costs", 0.1)):
        key = maker.study(study)
        for number in range(4):
            figures = ("int8", 0.9 + number / 100, 1e3 * (1 + number), latency, True)
            maker.trial(key, number, candidates=[figures])
    with served(tmp_path / "made.db") as address:
        trade_off(tab, address, "two costs")
        assert tab.locator(".linked-chart").count() == 2
        zoomed = zoom(tab)
        tab.get_by_role("combobox", name="Study").click()
        tab.get_by_role("option", name="one cost").click()
        tab.wait_for_url("**study=one+cost**")
        tab.wait_for_function('() => document.querySelectorAll(".linked-chart").length === 1')
        tab.wait_for_selector(".linked-charts[data-ready=true]")
        assert tab.evaluate(RANGE) != zoomed


def test_a_page_kept_from_another_version_is_not_taken_for_this_one(address):
    kept = {"Accept": "text/html", "If-Modified-Since": formatdate(usegmt=True)}
    request = urllib.request.Request(f"{address}trade-off", headers=kept)
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert b"loadPlotly" in answer.read()
        assert not {"etag", "last-modified"} & {name.lower() for name in answer.headers}


def test_what_a_box_holds_is_chosen_in_both_charts_and_the_ring_stays(tab, address):
    trade_off(tab, address)
    drag = tab.locator(".linked-chart .nsewdrag").first.bounding_box()
    tab.mouse.move(drag["x"] + 5, drag["y"] + 5)
    tab.locator(".linked-chart [data-val=select]").first.click()
    tab.mouse.move(drag["x"] + 2, drag["y"] + 2)
    tab.mouse.down()
    tab.mouse.move(drag["x"] + drag["width"] - 2, drag["y"] + drag["height"] - 2, steps=4)
    tab.mouse.up()
    tab.get_by_text(re.compile(r", \d+ selected")).wait_for()
    left, right = tab.evaluate(SELECTED)
    assert len(left) > 1
    assert sorted(left) == sorted(right)
    assert tab.evaluate(
        """() => document.querySelector(".linked-chart").data
           .filter((t) => !t.customdata).every((t) => !t.selectedpoints)"""
    )


CORNERS = """() => {
  const { xaxis, yaxis } = document.querySelector(".linked-chart")._fullLayout;
  const box = document.querySelector(".linked-chart").getBoundingClientRect();
  return [...document.querySelectorAll(".linked-chart")].map((node) =>
    [...node.querySelectorAll(".clouds > path")].map((path) =>
      path.getAttribute("d").slice(1).split("L").map((pair) => {
        const [x, y] = pair.split(",").map(Number);
        return [box.left + xaxis._offset + x, box.top + yaxis._offset + y];
      })));
}"""


@pytest.fixture
def crowd(maker, tmp_path):
    """A dashboard on 151 candidates, 150 of which the last one dominates."""
    study = maker.study()
    for number in range(150):
        accuracy, size = 0.6 + 0.001 * number, 9000 + 700 * (number * 37 % 150)
        maker.trial(study, number, candidates=[("int8", accuracy, size, size / 1e6, True)])
    maker.trial(study, 150, candidates=[("int8", 0.9, 5000, 0.004, True)])
    with served(tmp_path / "made.db") as found:
        yield found


def test_many_points_are_drawn_as_one_and_answer_each_for_itself(tab, crowd):
    trade_off(tab, crowd, "small")
    shapes = tab.locator(".linked-chart .point").count()
    assert shapes < 20
    ((corners,), (others,)) = tab.evaluate(CORNERS)
    assert len(corners) == len(others) == 150
    name = "75-int8"
    where = tab.evaluate(POINT, name)
    assert min(abs(x - where[0]) + abs(y - where[1]) for x, y in corners) < 0.2
    click_point(tab, name)
    tab.get_by_text(", 1 selected").wait_for()
    assert tab.evaluate(SELECTED) == [[name], [name]]
    # Those that fade, and it alone.
    for faint, full in tab.evaluate(CORNERS):
        assert (len(faint), len(full)) == (149, 1)
    picture(tab, "many")
    before = tab.evaluate(POINT, name)
    tab.mouse.move(before[0] - 60, before[1] - 40)
    tab.mouse.down()
    tab.mouse.move(before[0] + 90, before[1] + 60, steps=4)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    where, (faint, full) = tab.evaluate(POINT, name), tab.evaluate(CORNERS)[0]
    assert abs(where[0] - before[0]) > 20
    assert abs(full[0][0] - where[0]) + abs(full[0][1] - where[1]) < 0.2


def test_a_page_is_told_where_the_server_is_and_asks_for_nothing_in_vain(tab, address):
    asked = []
    tab.on("response", lambda response: asked.append((response.url, response.status)))
    trade_off(tab, address)
    assert [one for one in asked if one[1] not in (200, 304)] == []
    assert [url for url, _ in asked if "health" in url] == [f"{address}_stcore/health"]


def test_a_zoom_in_one_chart_shows_the_same_accuracies_in_the_other(tab, address):
    trade_off(tab, address)
    whole = tab.evaluate(RANGES)
    assert whole[0] == whole[1]
    zoomed = zoom(tab)
    assert zoomed != whole[0]
    tab.wait_for_function(f"() => ({RANGES})()[1].join() === {','.join(map(str, zoomed))!r}")
    drag = tab.locator(".linked-chart .nsewdrag").nth(1).bounding_box()
    tab.mouse.dblclick(drag["x"] + 9, drag["y"] + 9)
    tab.wait_for_function(f"() => new Set(({RANGES})().map(String)).size === 1")
    assert tab.evaluate(RANGES)[0] != zoomed


def test_a_zoom_outlives_a_filter(tab, address):
    trade_off(tab, address)
    zoomed = zoom(tab)
    field = tab.get_by_role("spinbutton", name="size ≤ (kB)")
    field.fill("25")
    field.press("Enter")
    tab.wait_for_url("**max_size_kb=25**")
    tab.wait_for_timeout(1500)
    assert tab.evaluate(RANGE) == zoomed


def test_a_candidate_is_chosen_promoted_and_exported(tab, address, tmp_path):
    trade_off(tab, address)
    tab.get_by_role("button", name="Open it").click()
    tab.get_by_role("button", name="Promote").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_text("this is the first").wait_for()
    picture(tab, "promote")
    # Pressed twice, as people do: it is promoted once, and the test images are read once.
    press_twice(tab, dialog.get_by_role("button", name="Promote it"), pause_ms=150)
    dialog.get_by_text("Promoted.").wait_for(timeout=60_000)
    tab.wait_for_timeout(500)
    tab.wait_for_selector('[data-test-script-state="notRunning"]')
    dialog.get_by_text("See it in the registry").click()
    tab.get_by_text("History (1)").wait_for()
    tab.get_by_role("button", name="Export").click()
    button = tab.get_by_role("button", name="Download")
    button.wait_for(timeout=60_000)
    picture(tab, "registry")
    with tab.expect_download() as download:
        button.click()
    path = tmp_path / "bundle.zip"
    download.value.save_as(path)
    assert {"model.tflite", "predict.py"} <= set(zipfile.ZipFile(path).namelist())


def test_an_alias_that_was_moved_back_is_shown_where_it_points_now(tab, searched, tmp_path):
    home = shutil.copytree(searched.folder, tmp_path / "home")
    storage = ("--storage", f"sqlite:///{home / 'tiny.db'}")
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    autosearch = (sys.executable, "-m", "autosearch")
    listed = run([*autosearch, "front", "tiny", *storage, "--format", "json"]).stdout
    names = [row["candidate"] for row in json.loads(listed)]
    for name in (names[0], names[-1]):
        run([*autosearch, "promote", "tiny", name, *storage])
    with served(home / "tiny.db", "--allow-promote") as address:
        tab.goto(f"{address}registry")
        tab.get_by_text("History (2)").wait_for()
        tab.get_by_role("button", name="Move back").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_role("button", name="Move it back").click()
        dialog.get_by_text("Promoted.").wait_for(timeout=60_000)
        tab.keyboard.press("Escape")
        tab.get_by_text("History (3)").wait_for()


@pytest.mark.parametrize("pause_ms", [80, 150, 300])
def test_what_is_asked_while_a_page_is_turned_does_not_empty_the_next_one(tab, address, pause_ms):
    trade_off(tab, address)
    press_twice(tab, tab.get_by_role("button", name="Open it"), pause_ms=pause_ms)
    back = tab.get_by_text("Back to the trade-off")
    back.wait_for()
    tab.wait_for_selector('[data-test-script-state="notRunning"]')
    tab.wait_for_timeout(500)
    assert back.is_visible()


BUTTONS = """() => [...document.querySelectorAll(".modebar-btn")].map((b) => b.dataset.title)"""


def test_nothing_is_asked_of_another_server_and_no_chart_offers_to_be_sent_to_one(
    tab, address, searched, tmp_path
):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    path = tmp_path / "report.html"
    assert searched.autosearch("report", "tiny", "--output", path).returncode == 0
    for place in (f"{address}trade-off", f"{address}search", f"{address}candidate", path.as_uri()):
        tab.goto(place)
        tab.wait_for_function(f"() => ({BUTTONS})().length > 0")
        assert not [title for title in tab.evaluate(BUTTONS) if "share" in title.lower()]
    assert not [url for url in asked if not url.startswith((address, "file:", "data:", "blob:"))]


def test_two_candidates_are_compared(tab, address):
    trade_off(tab, address)
    names = tab.evaluate(
        """() => [...new Set(document.querySelector(".linked-chart").data
           .flatMap((t) => (t.customdata || []).map((c) => c[0])))]"""
    )[:2]
    tab.goto(f"{address}compare?study=tiny&candidates={','.join(names)}")
    tab.get_by_text("What differs in the configuration").wait_for()
    tab.get_by_text(f"Open {names[1]}").wait_for()
    tab.get_by_role("button", name="Measure it here").click()
    tab.get_by_text("by cutting the file after each layer").wait_for()
    tab.get_by_text("time (µs)").wait_for()
    picture(tab, "compare")


def test_a_page_opened_while_the_database_is_locked_comes_by_itself_once_it_is_free(
    tab, searched, tmp_path
):
    database = tmp_path / "tiny.db"
    shutil.copy(searched.folder / "tiny.db", database)
    with (
        served(database) as address,
        closing(sqlite3.connect(database, isolation_level=None)) as other,
    ):
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        tab.goto(f"{address}trade-off?study=tiny")
        tab.get_by_text("another process keeps database").wait_for()
        other.close()
        tab.wait_for_selector(".linked-charts[data-ready=true]")


def test_the_charts_of_a_report_stand_side_by_side(tab, searched, tmp_path) -> None:
    path = tmp_path / "report.html"
    assert searched.autosearch("report", "tiny", "--output", path).returncode == 0
    tab.goto(path.as_uri())
    tab.wait_for_function(
        """() => [...document.querySelectorAll(".charts > div")].every((box) =>
          box.querySelector(".main-svg").getBoundingClientRect().width <= box.offsetWidth + 1)"""
    )
    picture(tab, "report")
