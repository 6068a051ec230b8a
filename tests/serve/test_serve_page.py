"""The whole story in a browser: open, point, filter, mark, search again, export, reload by address.

Needs Chromium (Debian's package chromium, or DCSH_TEST_CHROMIUM) and playwright.  With axe-core's file in
DCSH_TEST_AXE, or installed by npm in dcsh_pg/serve, the page is checked for accessibility too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcsh_pg.archive import Archive

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from dcsh_pg.serve.app import PAGE, create_app  # noqa: E402
from dcsh_pg.serve.settings import Settings  # noqa: E402

CHROMIUM = os.environ.get("DCSH_TEST_CHROMIUM") or shutil.which("chromium")
AXE = Path(os.environ.get("DCSH_TEST_AXE") or PAGE.parent / "node_modules/axe-core/axe.min.js")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TOKEN = "secret"
WAIT = 60_000
"""Milliseconds; drawing without a GPU is slow."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install chromium, or name DCSH_TEST_CHROMIUM"
)


@pytest.fixture(scope="module")
def served(embedded_admin, embedded_template, make_database, model_file, scenes) -> Iterator[str]:
    """The address of a server of archive ``towns``, with its token."""
    with make_database(embedded_admin, embedded_template) as dsn, socket.socket() as listening:
        Archive.create("towns", model_file, dsn=dsn).ingest([str(scenes)])
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = create_app(Settings(archive="towns", dsn=dsn, token=TOKEN))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, served):
    """The page, open; the test fails if it logs an error or loads anything from elsewhere."""
    context = browser.new_context(accept_downloads=True, permissions=["clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(WAIT)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda line: (
            line.type == "error"
            and not re.search("status of 40[04]", line.text)
            and faults.append(line.text)
        ),
    )
    page.on(
        "request", lambda r: r.url.startswith((served, "blob:", "data:")) or faults.append(r.url)
    )
    page.goto(f"{served}?token={TOKEN}")
    until(page, "document.title.startsWith('towns')")
    yield page
    context.close()
    assert faults == []


def until(page, condition: str) -> None:
    """Waits for a JavaScript expression; wait_for_function needs eval, which the page forbids."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def hits(page) -> list[int]:
    page.wait_for_selector("#hits:not(.old) .hit")
    until(page, "!document.querySelector('#status').textContent.includes('…')")
    return page.eval_on_selector_all(".hit", "cards => cards.map(card => Number(card.dataset.id))")


def click_archive(page) -> None:
    """Clicks the middle of a footprint: that of the first chip of the first scene."""
    chip = page.evaluate("fetch('api/archives/towns/chips/1').then(answer => answer.json())")
    corners = chip["geometry"]["coordinates"][0][:4]
    lon, lat = (sum(corner[axis] for corner in corners) / 4 for axis in (0, 1))
    page.fill("#place", f"{lon}, {lat}")
    page.press("#place", "Enter")


def test_the_whole_story(page, served):
    click_archive(page)
    first = hits(page)
    assert len(first) == 20
    chip = int(page.url.split("chip=")[1].split("&")[0])
    assert chip not in first
    until(page, "document.querySelector('.hit img').naturalWidth > 0")

    page.fill("#until", "2020-01-01")
    page.press("#until", "Tab")
    page.wait_for_url("**until=2020-01-01**")
    dates = page.eval_on_selector_all(".hit .date", "all => all.map(one => one.textContent)")
    hits(page)
    dates = page.eval_on_selector_all(".hit .date", "all => all.map(one => one.textContent)")
    assert set(dates) == {"2019-04-18"}
    page.click("#clear-filters")
    page.wait_for_url(lambda url: "until" not in url)
    assert hits(page) == first

    page.focus(".hit .see")
    page.keyboard.press("y")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    assert page.locator(".right[aria-pressed=true]").count() == 1
    page.keyboard.press("s")
    page.wait_for_url(f"**like={chip},{first[0]}&unlike={first[1]}**")
    again = hits(page)
    assert not {chip, first[0], first[1]} & set(again)

    page.click("#take summary")
    with page.expect_download() as waiting:
        page.click("#downloads button:has-text('GeoJSON')")
    saved = json.loads(Path(waiting.value.path()).read_text())
    assert [feature["id"] for feature in saved["features"]] == again

    page.click("#more")
    page.wait_for_url("**k=40**")
    until(page, "document.querySelectorAll('.hit').length === 40")
    assert hits(page)[:20] == again

    more = hits(page)
    page.reload()
    assert hits(page) == more
    page.click("#undo")
    until(page, "document.querySelectorAll('.hit').length === 20")
    assert hits(page) == again


def test_click_on_the_map_searches_and_hover_is_linked(page):
    page.wait_for_timeout(2000)
    page.fill("#place", "1")
    page.press("#place", "Enter")
    ids = hits(page)
    page.locator("#map").click(position={"x": 3, "y": 3})  # beside the footprints
    page.wait_for_selector("#hint:has-text('No chip lies here')")
    assert hits(page) == ids and not page.is_visible("#error")
    page.hover(f".hit[data-id='{ids[2]}']")
    assert page.locator(".hit.hover").get_attribute("data-id") == str(ids[2])
    page.click(f".hit[data-id='{ids[2]}'] .see")  # moves the map to it
    page.wait_for_timeout(3000)
    place = page.locator("#map").bounding_box()
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    until(page, "!location.hash.includes('chip=1&') && !location.hash.endsWith('chip=1')")
    assert hits(page)


def test_picture_region_and_surface(page, tmp_path):
    with page.expect_response("**/thumbnail") as waiting:
        page.goto(page.url.split("#")[0] + "#archive=towns&chip=5")
    picture = tmp_path / "pond.webp"
    picture.write_bytes(waiting.value.body())
    hits(page)
    page.set_input_files("#picture", picture)
    page.wait_for_url("**code=0x**")
    assert hits(page)

    page.click("#draw-region")
    place = page.locator("#map").bounding_box()
    x, y, width, height = (place[side] for side in ("x", "y", "width", "height"))
    page.mouse.move(x + 0.1 * width, y + 0.1 * height)
    page.mouse.down()
    for share in (0.5, 0.7, 0.9):
        page.mouse.move(x + share * width, y + share * height)
    page.mouse.up()
    page.wait_for_url("**region=**")
    assert page.get_attribute("#draw-region", "aria-pressed") == "false"

    page.goto(page.url.split("#")[0] + "#archive=towns&chip=5")
    until(page, "location.hash.includes('chip=5')")
    hits(page)
    with page.expect_response("**/surface") as waiting:
        page.check("#show-surface")
    cells = waiting.value.json()
    assert min(cells["distance"]) == 0
    page.wait_for_url("**surface=**")


CHANGE = "change=2019-12-31,2029-12-31"


def test_change_under_a_swipe_and_duplicates_in_groups(page):
    page.keyboard.press("c")  # with the dates proposed, the first and the last of the archive
    page.wait_for_url("**change=2019-**")
    page.click("#compare summary")
    page.fill("#before", "2019-12-31")
    page.fill("#after", "2029-12-31")
    page.click("#find-change")
    page.wait_for_url(f"**{CHANGE}**")
    changed = hits(page)
    assert page.locator(".hit.pair").count() == len(changed) > 0
    assert "2019-" in page.inner_text(".hit .date") and "→" in page.inner_text(".hit .date")
    until(page, "[...document.querySelectorAll('.hit img')].slice(0, 2).every(i => i.naturalWidth)")
    assert page.locator(".hit .right").count() == 0
    assert page.is_disabled("#copy-sql") and page.is_disabled("#show-surface")

    page.focus(".hit .see")
    page.keyboard.press("w")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#swipe") == "49"
    cut = "getComputedStyle(document.querySelector('#earlier')).clipPath"
    assert page.evaluate(cut) == "inset(0px calc(51%) 0px 0px)" or "51%" in page.evaluate(cut)

    page.keyboard.press("d")
    page.wait_for_url("**duplicates=2**")
    page.wait_for_selector("#hits:not(.old) .group, #empty:not([hidden])")
    page.fill("#radius", "8")
    page.press("#radius", "Enter")
    page.wait_for_url("**duplicates=8**")
    groups = hits(page)
    sizes = page.eval_on_selector_all(".group", "all => all.map(one => parseInt(one.textContent))")
    assert sizes == sorted(sizes, reverse=True) and len(groups) == sum(min(s, 50) for s in sizes)
    assert page.is_hidden("#swipe")
    page.reload()
    assert hits(page) == groups
    page.click("#undo")
    page.click("#undo")
    page.wait_for_url(f"**{CHANGE}**")
    assert hits(page) == changed
    assert page.is_visible("#swipe")

    page.focus(".hit .see")
    page.keyboard.press("Enter")  # chips similar to the changed one
    page.wait_for_url(f"**chip={changed[0]}**")
    assert hits(page)


def test_errors_say_what_to_do(page):
    page.fill("#place", "nowhere")
    page.press("#place", "Enter")
    assert "for example" in page.inner_text("#error")
    page.keyboard.press("Escape")
    page.goto(page.url.split("#")[0] + "#archive=towns&chip=1&where=nonsense((")
    page.wait_for_selector("#error:not([hidden])")
    assert "CQL2" in page.inner_text("#error")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("query", ["likes=&chip=1&right=2", CHANGE, "duplicates=8"])
def test_page_is_accessible(page, theme, width, query):
    if not AXE.is_file():
        pytest.skip("no axe-core: npm install in dcsh_pg/serve, or name its file in DCSH_TEST_AXE")
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{page.url.split('#')[0]}#archive=towns&{query}")
    hits(page)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    assert [
        (fault["id"], [node["html"][:200] for node in fault["nodes"]])
        for fault in found["violations"]
    ] == []
