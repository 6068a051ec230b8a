"""Makes docs/map-page.png: the map page on the demo's archive, in Chromium.

dcsh-pg serve dcsh_demo --no-token &
python docs/make_page_picture.py 'http://127.0.0.1:8080/#archive=dcsh_demo&chip=320'
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("map-page.png")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(address)
        page.wait_for_selector(".hit img")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(5000)  # until the map is drawn, without a GPU
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
