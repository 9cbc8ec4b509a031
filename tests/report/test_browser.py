"""The page in a real browser: Debian's chromium, driven by Selenium, judged by axe-core."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("vl_convert", reason="the extra 'report' draws the charts")
webdriver = pytest.importorskip("selenium.webdriver")
axe = pytest.importorskip("axe_core_python.selenium")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")  # a hosted runner has that
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="apt-get install chromium chromium-driver: the report is looked at in a real browser",
)
PHONE, DESKTOP = 390, 1200
KEPT = os.environ.get("NASP_SCREENSHOTS")
"""A folder to which pictures of the page are written, for people to look at."""


class Browser:
    """A browser without a window.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self) -> None:
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = str(CHROMIUM)
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))

    def look(self, width: int = DESKTOP, scheme: str = "light", media: str = "screen") -> None:
        """Take a width, a colour scheme and a medium."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )

    def picture(self, name: str) -> Image.Image:
        """Return what is seen, from the top of the page."""
        width, height = self("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 2600), "scale": 1}
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        data = base64.b64decode(shot["data"])
        if KEPT:
            Path(KEPT).mkdir(parents=True, exist_ok=True)
            (Path(KEPT) / f"{name}.png").write_bytes(data)
        return Image.open(io.BytesIO(data)).convert("RGB")

    def __call__(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        """Return the elements that a selector finds."""
        return list(self.driver.find_elements("css selector", selector))

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def pages(runs: Path, call: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    call("report", runs / "first", "--to", folder / "first.html")
    call("report", runs / "own", runs / "random", "--to", folder / "beside.html")
    call("report", runs / "sweep", "--to", folder / "sweep.html")
    return folder


@pytest.fixture
def browser(chromium: Browser, pages: Path) -> Browser:
    chromium.look()
    chromium.driver.get((pages / "first.html").as_uri())
    return chromium


def shown(browser: Browser) -> list[str]:
    return [panel.get_attribute("id") for panel in browser.all(".panel") if panel.is_displayed()]


@pytest.mark.parametrize("name", ["first", "beside", "sweep"])
def test_it_loads_without_an_error_or_a_request(chromium: Browser, pages: Path, name: str) -> None:
    for kind in ("browser", "performance"):
        chromium.driver.get_log(kind)
    url = (pages / f"{name}.html").as_uri()
    chromium.driver.get(url)
    assert chromium.driver.get_log("browser") == []
    events = [json.loads(e["message"])["message"] for e in chromium.driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [each for each in asked if not each.startswith("data:")] == [url]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["first", "beside", "sweep"])
def test_axe_finds_nothing_serious(chromium: Browser, pages: Path, name: str, scheme: str) -> None:
    chromium.driver.get((pages / f"{name}.html").as_uri())
    chromium.look(scheme=scheme)
    chromium("""
        for (const panel of document.querySelectorAll(".panel")) panel.hidden = false;
        for (const each of document.querySelectorAll("details")) each.open = true;
    """)
    # Of many alike charts three are enough: it takes its time over every word in them.
    chromium('[...document.querySelectorAll("svg.chart")].slice(3).forEach((svg) => svg.remove())')
    found = axe.Axe().run(chromium.driver)["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []


@pytest.mark.parametrize(
    ("width", "scheme", "media"),
    [
        (PHONE, "light", "screen"),
        (PHONE, "dark", "screen"),
        (DESKTOP, "light", "screen"),
        (DESKTOP, "dark", "screen"),
        (720, "dark", "print"),
    ],
)
def test_every_part_is_seen_at_every_width(
    browser: Browser, width: int, scheme: str, media: str
) -> None:
    browser.look(width, scheme, media)
    tabs = browser.all('[role="tab"]') if media == "screen" else [None]
    for number, tab in enumerate(tabs):
        if tab is not None:
            tab.click()
        wide = browser("return document.documentElement.scrollWidth")
        assert wide <= width, "the page is wider than the screen"
        picture = browser.picture(f"first-{number}-{width}-{scheme}-{media}")
        grey = picture.convert("L")
        background = sum(picture.getpixel((2, 2))) / 3
        assert (background < 100) == (scheme == "dark" and media == "screen")
        inked = sum(count for count, value in grey.getcolors() if abs(value - background) > 60)
        assert inked > 0.005 * picture.width * picture.height, "the picture is blank"
        assert len(picture.getcolors(1 << 24)) > 30


def test_tabs_obey_the_mouse_and_the_keyboard(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    tabs = browser.all('[role="tab"]')
    assert [tab.text for tab in tabs] == [
        *("Found", "Curves", "Selection", "Training", "Costs", "Again"),
    ]
    assert shown(browser) == ["panel-0"]
    tabs[1].click()
    assert shown(browser) == ["panel-1"]
    browser.press(Keys.ARROW_RIGHT)
    assert shown(browser) == ["panel-2"]
    browser.press(Keys.END)
    assert shown(browser) == [f"panel-{len(tabs) - 1}"]
    browser.press(Keys.ARROW_RIGHT)
    assert shown(browser) == ["panel-0"]
    assert tabs[0].get_attribute("aria-selected") == "true"
    assert [tab.get_attribute("tabindex") for tab in tabs].count("0") == 1


def test_the_scrubber_goes_through_the_epochs(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    stops = browser("return JSON.parse(document.querySelector('.moves script').textContent)")[
        "stops"
    ]
    (slider,) = browser.all('.moves input[type="range"]')
    browser("arguments[0].focus()", slider)
    seen = []
    for stop in [stops[-1], *reversed(stops[:-1])]:
        assert slider.get_attribute("aria-valuetext") == stop["label"]
        assert browser.all(".moves output")[0].text.startswith(stop["label"])
        for edge, name in stop["path"].items():
            (label,) = browser.all(f'.moves a[data-edge="{edge}"]')
            assert label.get_attribute("aria-label").endswith(f": {name or 'off'}")
        kept = len(browser.all("#panel-0 table.grid td.kept"))
        assert kept == 2 * sum(name is not None for name in stop["path"].values())
        seen.append(browser("return document.querySelector('table.grid').innerText"))
        browser.press(Keys.ARROW_LEFT)
    assert len(set(seen[1:])) == len(stops) - 1  # the alphas of every epoch
    (on,) = browser.all('.moves [data-by="1"]')
    on.click()
    assert slider.get_attribute("aria-valuetext") == stops[1]["label"]


def test_a_label_leads_to_what_could_have_stood_there(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    (label,) = browser.all('.moves a[data-edge="cell/2"]')
    browser("arguments[0].focus()", label)
    browser.press(Keys.ENTER)
    assert browser("return document.querySelector(':target').id") == "r0-cell/2"
    row = browser("return document.querySelector(':target').innerText")
    assert "node 1 → node 2" in row


def test_without_scripts_everything_is_there(chromium: Browser, pages: Path) -> None:
    chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.driver.get((pages / "first.html").as_uri())
        panels = chromium.all(".panel")
        assert len(panels) == 6
        assert all(panel.is_displayed() for panel in panels)
        assert not any(each.is_displayed() for each in chromium.all(".js-only"))
    finally:
        chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
