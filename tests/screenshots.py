"""Pictures of pages for the documentation, out of a real browser: `python -m tests.screenshots sweep`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from playwright.sync_api import Browser

from tests.browser import chromium

DOCS = Path(__file__).parent.parent / "docs"
#: Bytes of a picture that a reader of the README has to load.
LARGEST = 300_000


def sweep(browser: Browser, folder: Path) -> Path:
    """The top of a sweep's page, down to the end of its first plot.

    Args:
        folder: that `ape run sweep --out` wrote.
    """
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto((folder / "index.html").resolve().as_uri())
    page.locator("#shortfall_plot .main-svg").first.wait_for()
    end = page.locator("#shortfall_plot").bounding_box()
    assert end is not None  # it is there
    target = DOCS / "sweep-page.png"
    page.screenshot(
        path=target, full_page=True, clip={"x": 0, "y": 0, "width": 1100, "height": end["y"] + end["height"]}
    )
    page.close()
    return target


#: Every picture, and the folder that it is made from unless another is given.
PICTURES: dict[str, tuple[Callable[[Browser, Path], Path], Path]] = {"sweep": (sweep, Path("out/sweep"))}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(PICTURES)))
@click.option("--from", "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
def main(names: tuple[str, ...], folder: Path | None) -> None:
    """Take pictures, all of them unless some are named, of what stands in out/ or in --from."""
    with chromium() as browser:
        for name in names or PICTURES:
            take, usual = PICTURES[name]
            if not ((folder or usual) / "index.html").exists():
                raise click.ClickException(f"{folder or usual} holds no page: make {name} writes one")
            target = take(browser, folder or usual)
            if target.stat().st_size > LARGEST:
                raise click.ClickException(f"{target}: {target.stat().st_size:,} bytes are more than {LARGEST:,}")
            click.echo(f"wrote {target.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
