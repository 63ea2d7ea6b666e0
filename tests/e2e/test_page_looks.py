"""How the page looks in every state: for all readers (axe), in both schemes, wide, narrow, by keyboard.

Not for: what it does (test_page.py).
"""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.pictures import STATES
from tests.support import sample_tenant
from tests.support.browser import Reader

PHONE = {"width": 390, "height": 844}
FEW = 16  # rows: axe checks each
ALIKE = {"table", "forbidden", "filtered", "never-swept", "dry-run-asked", "cause"}  # to others
LOOKS = [state for state in STATES if state not in ALIKE]


@pytest.fixture(scope="module")
def app():
    with sample_tenant.running(FEW) as running:
        yield running


def found_by_axe(page, rules=None):
    """What axe finds, all of it or by these rules only."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = Axe().run(page, options=options).response["violations"]
    return [(one["id"], one["nodes"][0]["target"]) for one in found]


@pytest.mark.parametrize("state", LOOKS)
def test_axe_finds_nothing_in_any_state(chromium, app, state):
    """In light; in dark only colours are others. Nothing breaks the page's policy either."""
    with Reader(chromium, app) as reader:
        STATES[state](reader)
        light = found_by_axe(reader.page)
        reader.page.emulate_media(color_scheme="dark")
        dark = found_by_axe(reader.page, ["color-contrast"])

        assert ([], [], []) == (light, dark, reader.violations())


# What is too small to hit, and fields that make a phone zoom.
SMALL = """() => [...document.querySelectorAll("button, select, input, a, summary")]
  .filter((one) => one.checkVisibility() && !one.matches(".skip"))
  .map((one) => [one, (one.matches("[type=checkbox]") ? one.closest("label") : one).getBoundingClientRect()])
  .filter(([one, box]) => box.height < 43.9 || box.width < 40 ||
    (one.matches("input, select") && parseFloat(getComputedStyle(one).fontSize) < 16))
  .map(([one, box]) => `${one.id || one.className || one.textContent} ${Math.round(box.width)} x ${Math.round(box.height)}`)"""


@pytest.mark.parametrize("state", LOOKS)
def test_on_a_phone_everything_can_be_hit_and_nothing_is_wider(chromium, app, state):
    """Down to 320 pixels; and where rows are cards, axe finds nothing either."""
    with Reader(chromium, app, viewport=PHONE, color_scheme="dark", has_touch=True) as reader:
        page, wider = reader.page, []
        STATES[state](reader)
        found = found_by_axe(page) if state == "list" else []
        for width in (PHONE["width"], 320):
            page.set_viewport_size(PHONE | {"width": width})
            wider.append(page.evaluate("document.documentElement.scrollWidth - innerWidth"))

        assert ([], [], [0, 0]) == (found, page.evaluate(SMALL), wider)


def test_on_a_phone_the_table_is_in_the_first_screen_after_the_tiles(chromium, app):
    with Reader(chromium, app, viewport=PHONE) as reader:
        page = reader.see().page
        tiles = page.locator(".tiles").bounding_box()
        row = reader.rows().first.bounding_box()

    assert PHONE["height"] > row["y"] + row["height"] - (tiles["y"] + tiles["height"])


CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((one) =>
      one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const card = light(getComputedStyle(document.querySelector(".card")).backgroundColor);
  return ["due", "cooling", "moving", "exhausted", "expired", "excluded"].map((plan) => {
    const swatch = document.body.appendChild(Object.assign(document.createElement("i"), {className: plan}));
    const own = light(getComputedStyle(swatch).backgroundColor);
    return (Math.max(own, card) + 0.05) / (Math.min(own, card) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_of_the_plans_stand_out_from_their_card(chromium, app, scheme):
    """3 to 1 (WCAG 2.2, 1.4.11), and without a pattern that flickers."""
    with Reader(chromium, app, color_scheme=scheme) as reader:
        assert all(one >= 3 for one in reader.see().page.evaluate(CONTRASTS))


def test_the_whole_of_a_cut_text_is_shown_on_hover_and_focus(chromium, app):
    """Of the row that has the focus all that is cut; Escape closes it."""
    long = "Sales Team " * 30

    def lengthen(body):
        for one in body["value"]:
            one["accessPackageName"], one["statusText"] = long, f"Read-only {long}"

    with Reader(chromium, app) as reader:
        page = reader.change(lengthen).see().page
        tip = page.get_by_role("tooltip")
        reader.rows().first.locator("td.package .one").hover()
        expect(tip).to_have_text(long)
        tip.hover()
        expect(tip).to_be_visible()
        page.keyboard.press("Escape")
        expect(tip).to_be_hidden()
        page.locator("#skip").focus()
        page.keyboard.press("Enter")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.classList.contains('row-more')"):
                break
        expect(tip).to_contain_text(f"Read-only {long}")
        expect(tip).to_contain_text(f"{long}Read")


def test_the_keyboard_is_enough(chromium, app):
    """From the key to a reprocess, and through the rows; the focus is never lost."""
    with Reader(chromium, app) as reader:
        page = reader.open().page
        page.keyboard.press("Tab")
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type(app.function_key)
        page.keyboard.press("Enter")
        expect(page.locator("#list")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.locator("#skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#table-title")).to_be_focused()
        reader.rows().first.get_by_role("checkbox").focus()
        page.keyboard.press("End")
        expect(reader.rows().last.get_by_role("checkbox")).to_be_focused()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        expect(page.locator("#selected")).to_have_text("1 selected")
        page.locator("#reprocess-selected").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#ask-yes")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#ask")).to_be_hidden()
        expect(page.locator("#reprocess-selected")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        expect(page.locator("#run-title")).to_have_text("1 sent")
