"""Takes the README's picture of the dashboard: the Trade-off page of a study that was searched.

autosearch run studies/digits.py --storage digits.db
python docs/screenshot.py digits.db digits docs/trade_off.png
"""

import shutil
import subprocess
import sys
from urllib.parse import quote

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1280, 975

database, study, path = sys.argv[1:]
with (
    subprocess.Popen(
        [sys.executable, "-m", "autosearch", "dashboard", "--storage", database, "--no-browser"],
        stderr=subprocess.PIPE,
        text=True,
    ) as server,
    sync_playwright() as playwright,
):
    try:
        address = server.stderr.readline().partition(" at ")[2].split(" ")[0]
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(60_000)
        page.wait_for_timeout(5000)
        page.goto(f"{address}trade-off?study={quote(study)}")
        page.wait_for_selector(".linked-charts[data-ready=true]")
        page.get_by_text("candidates remain").wait_for()
        page.wait_for_timeout(2000)
        # What is suggested and both charts: the filters above them tell a newcomer little.
        page.screenshot(path=path, clip={"x": 0, "y": 400, "width": WIDTH, "height": 520})
        browser.close()
    finally:
        server.terminate()
