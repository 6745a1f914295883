"""The studio in a headless Chromium, as a person uses it: on a phone and a wide window, light and dark, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.pages.browser import Browser, browser
from tools.pages.studio import FOLDER, PHONE, PICTURES, WIDE, served, shop

PAGES = (
    "",
    "entity/Order",
    "rows/Product",
    "rows/Order?view=by_state&value=paid",
    "row/Product?key=pot",
    "row/Order?key=o101",
    "check?run=1",
    "health",
    "rows/Order",
)
"""Every kind of page; the last one is refused, because no view has all orders."""

CONTRAST = """
(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(value => value / 255)
      .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [front, back] = [light(getComputedStyle(element).color), light(behind(element))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) found.push(element.tagName + ': ' + element.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return found;
})()
"""
"""The elements whose text has less contrast than WCAG 2.2 AA asks for."""


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    with shop() as opened:
        yield opened


@pytest.fixture(scope="module")
def url(store: Any) -> Iterator[str]:
    with served(store) as found:
        yield found


@pytest.fixture(scope="module")
def browser_() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def window(browser_: Browser) -> Browser:
    browser_.shape(*WIDE)
    browser_.problems.clear()
    return browser_


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_readable(window: Browser, url: str, path: str, size: tuple[int, int], dark: bool) -> None:
    window.shape(*size, dark=dark, phone=size == PHONE)
    window.open(url + path)
    assert window.value("document.querySelector('h1').textContent.length") > 0
    assert window.value("getComputedStyle(document.body).marginTop") == "0px", "the style sheet is not loaded"
    assert (
        window.value("document.documentElement.scrollWidth") <= size[0]
    ), "the page is wider than the window"
    assert window.value(CONTRAST) == []
    assert window.value("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    expected = ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    assert window.problems == (expected if path == "rows/Order" else [])


def test_what_is_touched_is_large_enough_on_a_phone(window: Browser, url: str) -> None:
    window.shape(*PHONE, phone=True)
    window.open(f"{url}entity/Order")
    sizes = "[...document.querySelectorAll('button, input:not([type=hidden]):not([type=checkbox]), select')].map(each => each.offsetHeight)"
    found = window.value(sizes)
    assert len(found) > 8
    assert min(found) >= 44


def test_dark_colours_differ_from_light_ones(window: Browser, url: str) -> None:
    colours = set()
    for dark in (False, True):
        window.shape(*WIDE, dark=dark)
        window.open(url)
        colours.add(window.value("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2


def test_a_person_goes_from_an_entity_to_a_row_and_through_pages(window: Browser, url: str) -> None:
    window.open(url)
    window.follow(
        "[...document.querySelectorAll('tbody th a')].find(each => each.textContent === 'Order').click()"
    )
    assert window.value("document.querySelector('h1').textContent") == "Order"
    window.value("document.querySelector('select[name=value]').value = 'paid'")
    window.follow("document.querySelector('input[value=by_state]').form.requestSubmit()")
    seen: list[str] = []
    while True:
        seen += window.value("[...document.querySelectorAll('tbody th a')].map(each => each.textContent)")
        if not window.value("document.querySelector('a[rel=next]') !== null"):
            break
        window.follow("document.querySelector('a[rel=next]').click()")
    assert len(seen) == len(set(seen)) == 80
    window.follow("document.querySelector('tbody th a').click()")
    assert (
        window.value("document.querySelector('.good').textContent") == "Every entry agrees with the document."
    )
    assert window.problems == []


def test_the_keyboard_reaches_the_content_first(window: Browser, url: str) -> None:
    window.open(url)
    window.press("Tab")
    assert window.value("document.activeElement.textContent") == "Skip to the content"
    assert window.value("document.activeElement.getBoundingClientRect().left") >= 0
    window.press("Tab")
    assert window.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_text_of_a_row_is_shown_and_runs_nothing(window: Browser, url: str, store: Any) -> None:
    title = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    store.products.update("cup", title=title)
    window.open(f"{url}row/Product?key=cup")
    assert title in window.value("document.querySelector('main').textContent")
    assert window.value("document.title") == "Product cup · shop_store"
    assert window.problems == []


def test_the_policy_stops_a_script(window: Browser, url: str) -> None:
    """The browser reports it, so the empty lists of problems above mean something."""
    window.open(url)
    window.value(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert window.value("window.ran") is None
    assert any("Content Security Policy" in problem for problem in window.problems)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_docs_is_a_picture_of_a_page(name: str) -> None:
    _, (width, height), _ = PICTURES[name]
    head = (FOLDER / name).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (width, height)
    assert f"studio/{name}" in (Path(FOLDER).parent / "look-at-rows.md").read_text(encoding="utf-8")
