# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab import Lab  # noqa: E402
from lab.artifacts import ArtifactLab  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "long: runs in full only under ./dev test --all")


@pytest.fixture(scope="session")
def build():
    folder = os.environ.get("SKERRY_BUILD", str(ROOT / "build" / "sanitize"))
    assert pathlib.Path(folder).is_dir(), f"{folder} is not built: ./dev build --sanitize"
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def run_all():
    """Was the long form of the tests asked for?"""
    return bool(os.environ.get("SKERRY_TEST_ALL"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "outcome_of_" + outcome.get_result().when, outcome.get_result())


def _used(request, lab):
    """Lends a lab to a test; its logs are shown when that fails, and what a sanitizer says fails it."""
    try:
        yield lab
        report = getattr(request.node, "outcome_of_call", None)
        if report is not None and report.failed:
            for log in sorted((lab.folder / "logs").glob("*.log")):
                print(f"==== {log.name}")
                print("\n".join(log.read_text(errors="replace").splitlines()[-60:]))
        faults = sanitizer_faults(lab)
    finally:
        lab.close()
    assert not faults, "a sanitizer reported:\n" + "\n".join(faults)


def _lab(request, build, **options):
    lab = Lab(build, log_level="debug", **options)
    lab.init_server()
    lab.start_server()
    yield from _used(request, lab)


def sanitizer_faults(lab):
    found = []
    for log in sorted((lab.folder / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        for number, line in enumerate(lines):
            if "ERROR: AddressSanitizer" in line or "runtime error:" in line or "ERROR: LeakSanitizer" in line:
                found += [f"{log.name}: {text}" for text in lines[number:number + 25]]
                break
    return found


@pytest.fixture
def lab(request, build):
    """A server that runs, and nothing else."""
    yield from _lab(request, build)


@pytest.fixture
def street(request, build):
    """A lab for artifacts, of which nothing runs yet: begin()."""
    yield from _used(request, ArtifactLab(build, log_level="debug"))


@pytest.fixture
def podman_lab(request, build):
    yield from _lab(request, build, podman=True)


@pytest.fixture
def fleet_repository(lab):
    """A bare repository that the server follows."""
    repository = lab.repository()
    return repository
