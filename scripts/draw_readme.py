"""Draw the picture of a report that README.md and the site show: docs/pictures/report.png.

    optbench train -m experiment=grid && optbench report outputs/grid
    python scripts/draw_readme.py outputs/grid/report.html

It needs playwright and a chromium, as the tests of the page do.
"""

import argparse
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "report.png"
WIDTH, HEIGHT, SCALE = 1180, 860, 1.5  # of the window; pixels of the picture to one of the page
COLOURS = 128


def main() -> None:
    """Open the page, and keep what stands at its top."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="a report.html")
    page = parser.parse_args().page.resolve(strict=True)
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        tab.goto(page.as_uri())
        tab.wait_for_selector(".js-plotly-plot .main-svg", state="attached")
        tab.wait_for_timeout(1500)  # until the charts that are in sight are drawn
        PICTURE.parent.mkdir(exist_ok=True)
        tab.screenshot(path=PICTURE)
        browser.close()
    Image.open(PICTURE).convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
