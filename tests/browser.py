"""Headless Chromium, to look at the pages that scripts write and serve as a person would.

The browser is an npm package, packed; it is unpacked once into `.build`. On other machines than 64-bit Linux, set
CHROMIUM to the browser that is there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

_ROOT = Path(__file__).parent.parent
_PACKAGE = _ROOT / "node_modules" / "@sparticuz" / "chromium"
#: The package unpacks into the folder for temporary files; what it takes for Amazon's Linux also gets the shared
#: libraries that bare machines lack.
_UNPACK = "import('@sparticuz/chromium').then(({default: chromium}) => chromium.executablePath())"
_LIKE_AMAZON = {"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs20.x"}
#: Fonts of the machine, and those of the package for one that has none.
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""
#: It neither looks for updates nor asks anybody but the page's own server for anything.
_ALONE = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> Path:
    """The browser, unpacked if it was not yet; two processes may ask at once.

    Raises:
        FileNotFoundError: `make node` has not been run.
    """
    given = os.environ.get("CHROMIUM")
    if given:
        return Path(given)
    if not _PACKAGE.exists():
        raise FileNotFoundError("Chromium is not there: `make node` installs it, or set CHROMIUM to one")
    version = json.loads((_PACKAGE / "package.json").read_text())["version"]
    unpacked = _ROOT / ".build" / f"chromium-{version}"
    if not unpacked.exists():
        unpacked.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=unpacked.parent) as folder:
            place = Path(folder) / "browser"
            place.mkdir()
            environment = {**os.environ, **_LIKE_AMAZON, "TMPDIR": str(place)}
            subprocess.run(["node", "-e", _UNPACK], cwd=_ROOT, env=environment, check=True, timeout=120)
            (place / "fonts.conf").write_text(_FONTS)
            try:
                place.rename(unpacked)
            except OSError:
                if not unpacked.exists():
                    raise
    return unpacked / "chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser."""
    path = executable()
    # Those of the machine first.
    libraries = [os.environ.get("LD_LIBRARY_PATH", ""), "/lib/x86_64-linux-gnu", str(path.parent / "al2023" / "lib")]
    environment: dict[str, str | float | bool] = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
    }
    fonts = path.parent / "fonts.conf"
    if fonts.exists():
        environment["FONTCONFIG_FILE"] = str(fonts)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--headless=shell", *_ALONE],
            env=environment,
        )
        try:
            yield browser
        finally:
            browser.close()
