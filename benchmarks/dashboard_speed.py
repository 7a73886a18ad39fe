"""How long the dashboard takes on a large database, in a real browser.

    python benchmarks/make_database.py large.db --trials 10000 --epochs 20
    python benchmarks/dashboard_speed.py large.db --rounds 5

Starts the dashboard on the database, opens its Trade-off page in Chromium with a warm cache and
changes a bound. Prints JSON: for each figure the median and the least of all rounds, in seconds.

* ``paint_s``: from the address to both charts drawn, and ``table_s`` to the table below them;
* ``filter_s``: from Enter in a bound's field to the frame that shows both charts with the bound,
  by the page's own clock;
* ``server_cpu_s``, ``browser_cpu_s``: processor time of a round, which other work on the machine
  changes less than it changes the times;
* ``wire_kb``: what the browser was sent for the first paint, compressed as it was;
* ``server_mb``: the server's resident memory at the end.

Two versions are compared by running each version's own, in turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

_DRAWN = ".linked-charts[data-ready=true]"
_TIME_DRAWN = """() => {
  window.pressed = window.drawn = null;
  const press = () => { window.pressed = performance.now(); };
  const draw = () => { window.drawn = performance.now(); };
  addEventListener("keydown", press, { once: true, capture: true });
  const nodes = [...document.querySelectorAll(".linked-chart")];
  let left = nodes.length;
  for (const node of nodes) {
    node.once("plotly_afterplot", () => {
      left -= 1;
      // What is put off in a frame runs once that frame was laid out and painted.
      if (left === 0) requestAnimationFrame(() => setTimeout(draw));
    });
  }
}"""
_BOUND = """(text) => window.drawn !== null && (document.querySelector(".linked-chart").layout
  .annotations || []).some((note) => note.text.includes(text))"""


@contextmanager
def served(database: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The dashboard on a database: its address and its process."""
    words = ["dashboard", "--storage", f"sqlite:///{database}", "--no-browser"]
    with subprocess.Popen(
        [sys.executable, "-m", "autosearch", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        address = process.stderr.readline().partition(" at ")[2].split(" ")[0]
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.25)
        try:
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()


def one_round(page: Page, address: str, bound: str) -> dict[str, float]:
    """Opens the page and sets a bound on the size."""
    received = [0]
    page.on("websocket", lambda socket: socket.on("framereceived", lambda f: _count(received, f)))
    start = time.perf_counter()
    page.goto(f"{address}trade-off?study=large")
    page.wait_for_selector(_DRAWN)
    painted = time.perf_counter()
    page.wait_for_selector("[data-testid=stDataFrame] canvas")
    listed = time.perf_counter()
    wire_kb = received[0] / 1000
    # Until the page is at rest, a change would wait for what is left of the first drawing.
    page.wait_for_timeout(1500)
    field = page.get_by_label("size ≤ (kB)", exact=True).first
    field.fill(bound)
    page.evaluate(_TIME_DRAWN)
    field.press("Enter")
    page.wait_for_function(_BOUND, arg=f"your bound {bound}.0 kB", polling=20)
    filter_ms = page.evaluate("window.drawn - window.pressed")
    return {
        "paint_s": painted - start,
        "table_s": listed - start,
        "filter_s": filter_ms / 1000,
        "wire_kb": wire_kb,
    }


def _count(received: list[int], payload: str | bytes) -> None:
    received[0] += len(payload)


def browser_cpu(own: psutil.Process) -> float:
    """Processor time of the browsers that a process started, in seconds."""
    total = 0.0
    for child in own.children(recursive=True):
        try:
            if "chrom" in child.name():
                times = child.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue
    return total


def measure(database: Path, rounds: int) -> dict[str, Any]:
    """All rounds, after one that fills the caches."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    found: list[dict[str, float]] = []
    with served(database) as (address, server), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 1400})
        context.set_default_timeout(120_000)
        for index in range(rounds + 1):
            page = context.new_page()
            # A new window first loads pages of the browser's own, and the last one still goes.
            page.wait_for_timeout(2000)
            before = cpu(server), browser_cpu(psutil.Process())
            figures = one_round(page, address, str(20 + index))
            figures["server_cpu_s"] = cpu(server) - before[0]
            figures["browser_cpu_s"] = browser_cpu(psutil.Process()) - before[1]
            page.close()
            if index:
                found.append(figures)
        memory = server.memory_info().rss / 1e6
        browser.close()
    summary: dict[str, Any] = {
        name: {
            "median": round(statistics.median(one[name] for one in found), 3),
            "least": round(min(one[name] for one in found), 3),
        }
        for name in found[0]
    }
    return {**summary, "server_mb": round(memory), "rounds": rounds}


def cpu(process: psutil.Process) -> float:
    """Processor time that a process has taken, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Times the dashboard in a browser.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    print(json.dumps(measure(words.database, words.rounds), indent=1))


if __name__ == "__main__":
    main()
