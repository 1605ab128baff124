"""SPECIFICATION.md says what the snapshots say, and names what exists."""

import re

from tests.specification import FILE, GUARANTEES, ROOT, SECTIONS, written

NAMED = re.compile(r"`((?:tests|contracts|prorata|docs|scripts|snapshots)/[\w/.\-]+)(?:::([\w]+))?`")


def test_the_tables_are_up_to_date():
    """`make specification` writes them."""
    assert written() == FILE.read_text()


def test_every_table_stands_in_it():
    assert re.findall(r"<!-- (\w+) -->", FILE.read_text().replace("<!-- end -->", "")) == list(SECTIONS)


def test_every_file_and_test_that_it_names_exists():
    named = NAMED.findall(FILE.read_text())
    assert len(named) > 20
    for path, inside in named:
        assert (ROOT / path).exists(), path
        if inside:
            assert re.search(rf"(class|def) {inside}\b", (ROOT / path).read_text()), (path, inside)


def test_every_guarantee_of_the_design_is_there():
    assert {one.name.split()[0] for one in GUARANTEES} >= {f"S{number}" for number in range(1, 9)}


def test_every_make_target_that_it_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", FILE.read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
