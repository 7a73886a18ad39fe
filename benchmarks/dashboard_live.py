"""Whether the dashboard stays as it is while a study runs: memory and processor time by the minute.

    python benchmarks/dashboard_live.py --minutes 60

A study whose evaluator only waits writes a trial with three epochs every two seconds. The pages
that refresh themselves stay open in Chromium. Prints a JSON line a minute:

* ``trials``: how many the database holds;
* ``server_mb``, ``server_cpu_s``: resident memory of the dashboard, and its processor time in
  that minute, of all pages' refreshes together;
* ``heap_mb``, ``nodes``: what the pages' scripts hold after garbage was collected, and how many
  nodes the documents have;
* ``browser_cpu_s``: processor time of the browser in that minute.

and in the end each figure's median in the last quarter over that in the second one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from dashboard_speed import browser_cpu, cpu, served
from playwright.sync_api import CDPSession, Page, sync_playwright

from autosearch.store.database import Database
from autosearch.store.frames import studies_frame

_PAGES = ("trade-off", "search", "studies")
_STUDY = """
import math, random, time
from autosearch import Budget, Study, maximize, minimize

def evaluate(trial):
    width, depth = trial.hp.Int("width", 4, 128, step=4), trial.hp.Int("depth", 1, 8)
    size = 2000 * depth + width * width * depth * 3
    best = 1 - 0.4 / math.log2(size) - random.Random(trial.number).random() / 10
    for epoch in (1, 2, 3):
        time.sleep(0.6)
        trial.report(epoch, accuracy=best - 0.1 / epoch)
    return {{"accuracy": best, "size_bytes": size, "latency_ms": size / 1e6}}

study = Study(name="live", evaluator=evaluate, sampler="random", budget=Budget(minutes={minutes}),
              objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")])
"""


def _browser_holds(page: Page, session: CDPSession) -> dict[str, float]:
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    nodes = page.evaluate("document.querySelectorAll('*').length")
    return {"heap_mb": usage["usedSize"] / 1e6, "nodes": nodes}


def watch(minutes: int, pages: list[str], folder: Path) -> list[dict[str, float]]:
    """The figures of every minute."""
    path, database = folder / "live.py", folder / "live.db"
    path.write_text(_STUDY.format(minutes=minutes + 2))
    words = ["run", str(path), "--storage", f"sqlite:///{database}"]
    found: list[dict[str, float]] = []
    with subprocess.Popen(
        [sys.executable, "-m", "autosearch", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as writer:
        try:
            while not database.exists():
                time.sleep(0.5)
            time.sleep(20)
            found = _watched(database, minutes, pages)
        finally:
            writer.terminate()
    return found


def _watched(database: Path, minutes: int, pages: list[str]) -> list[dict[str, float]]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    found = []
    read = Database.open_to_read(f"sqlite:///{database}")
    with served(database) as (address, server), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 1400})
        opened = []
        for name in pages:
            page = context.new_page()
            page.goto(f"{address}{'' if name == 'studies' else name}?study=live")
            opened.append((page, context.new_cdp_session(page)))
        own = psutil.Process()
        for minute in range(1, minutes + 1):
            before, end = (cpu(server), browser_cpu(own)), time.monotonic() + 60
            # The browser's messages are to be taken all the while, or they heap up here.
            opened[0][0].wait_for_timeout(1000 * max(end - time.monotonic(), 0))
            figures = {
                "minute": minute,
                "trials": int(studies_frame(read)["complete"].iloc[0]),
                "server_mb": server.memory_info().rss / 1e6,
                "server_cpu_s": cpu(server) - before[0],
                "browser_cpu_s": browser_cpu(own) - before[1],
            }
            held = pd.DataFrame([_browser_holds(*one) for one in opened]).sum()
            figures |= {name: float(value) for name, value in held.items()}
            print(json.dumps({k: round(v, 2) for k, v in figures.items()}), flush=True)
            found.append(figures)
        browser.close()
    return found


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--pages", nargs="+", default=list(_PAGES), choices=_PAGES)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = watch(words.minutes, words.pages, Path(folder))
    quarter = max(len(found) // 4, 1)
    second, last = found[quarter : 2 * quarter] or found, found[-quarter:]
    ratios: dict[str, Any] = {}
    for name in found[0]:
        if name != "minute":
            of_second, of_last = (statistics.median(f[name] for f in p) for p in (second, last))
            ratios[name] = round(of_last / of_second, 3)
    print(json.dumps({"last_quarter_over_second": ratios}))


if __name__ == "__main__":
    main()
