"""The page in a real browser, for tests; MLKD_SCREENSHOTS names a folder for pictures of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcs.station import Station
from tests.chromium import Page, find_chromium, open_page
from tests.fakes import MovingSource
from tests.serving import served

BROWSER = find_chromium()

# The bright square's middle in page px, from the pixels that are on the screen.
SQUARE = """(() => {
  const canvas = document.getElementById('view');
  if (!canvas) return null;
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let x = 0, y = 0, n = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] > 190 && data[i + 1] > 190 && data[i + 2] > 190) {
      x += (i / 4) % canvas.width; y += Math.floor(i / 4 / canvas.width); n += 1;
    }
  }
  const place = canvas.getBoundingClientRect();
  return n > 50 ? [x / n + place.x, y / n + place.y] : null;
})()"""

STATE = "document.getElementById('state').dataset.state"


class SlowSource(MovingSource):
    """The square moves slowly enough for a test's mouse."""

    def place(self, number: int) -> tuple[float, float]:
        return super().place(number // 16)


@contextmanager
def page_of(folder: Path, station: Station, size: tuple[int, int] = (1280, 800)) -> Iterator[Page]:
    assert BROWSER is not None
    with served(station) as address, open_page(BROWSER, folder / "profile", size) as page:
        page.go(f"http://{address}/")
        page.wait("document.getElementById('age')?.textContent.endsWith('ms')")
        yield page


def keep(page: Page, name: str) -> None:
    folder = os.environ.get("MLKD_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(Path(folder) / f"{name}.png")


def drag(page: Page, half: float = 24) -> None:
    for _ in range(5):
        x, y = page.wait(SQUARE)
        page.mouse("mousePressed", x - half, y - half)
        # A browser that is short of CPU may drop the first press.
        if page.eval("!document.getElementById('frozen').hidden"):
            break
        page.mouse("mouseReleased", x - half, y - half)
    page.mouse("mouseMoved", x, y)
    x, y = page.wait(SQUARE)
    page.mouse("mouseMoved", x + half, y + half)
    page.mouse("mouseReleased", x + half, y + half)
    toasts = "document.getElementById('toasts').textContent"
    page.wait(f"document.getElementById('record').dataset.on === 'yes' || {toasts}")
    assert page.eval(toasts) == ""
