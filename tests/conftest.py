"""The whole suite: seeds in the header, measured figures at the end."""

import os

from tests import figures


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        figures.forget()


def pytest_report_header(config):
    return f"stateful runs: seed {os.environ.get('PRORATA_SEED', '1')} (PRORATA_SEED, PRORATA_RUNS, PRORATA_STEPS)"


def pytest_terminal_summary(terminalreporter):
    for name, measured in figures.recorded().items():
        terminalreporter.section(name, sep="-")
        for key, value in measured.items():
            shown = f"{value:,}" if isinstance(value, int) else value
            terminalreporter.write_line(f"{key:48} {shown:>24}")
