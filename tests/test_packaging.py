"""What is declared, what is locked and what installs both."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PLATFORMS = {
    "Linux x86-64": ("linux", "Linux", "x86_64"),
    "Linux ARM": ("linux", "Linux", "aarch64"),
    "macOS ARM": ("darwin", "Darwin", "arm64"),
    "Windows": ("win32", "Windows", "AMD64"),
}
PYTHONS = ("3.11", "3.12", "3.13")
needs_make = pytest.mark.skipif(
    os.name == "nt" or shutil.which("make") is None, reason="needs make and a POSIX shell"
)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def declared() -> list[Requirement]:
    """Runtime, development and build dependencies."""
    tables = project()
    return [
        Requirement(line)
        for line in (
            *tables["project"]["dependencies"],
            *tables["project"]["optional-dependencies"]["dev"],
            *tables["build-system"]["requires"],
        )
    ]


def lock_text() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


def lock_entries() -> list[tuple[Requirement, list[str]]]:
    """Every locked requirement with its hashes."""
    logical_lines = lock_text().replace("\\\n", " ").splitlines()
    return [
        (Requirement(line.split("--hash")[0]), re.findall(r"--hash=(\S+)", line))
        for line in logical_lines
        if line.strip() and not line.lstrip().startswith("#")
    ]


def environment(platform: str, python: str) -> dict[str, str]:
    system, name, machine = PLATFORMS[platform]
    return {
        **{key: str(value) for key, value in default_environment().items()},
        "sys_platform": system,
        "platform_system": name,
        "platform_machine": machine,
        "os_name": "nt" if system == "win32" else "posix",
        "python_version": python,
        "python_full_version": f"{python}.1",
        "extra": "",
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lock_holds_one_fitting_version_of_every_dependency(platform: str, python: str) -> None:
    here = environment(platform, python)
    locked: dict[str, str] = {}
    for entry, _ in lock_entries():
        if entry.marker is None or entry.marker.evaluate(here):
            name = canonicalize_name(entry.name)
            assert name not in locked, f"{name} is locked twice for {platform}, Python {python}"
            locked[name] = str(entry.specifier).removeprefix("==")
    for wanted in declared():
        if wanted.marker is None or wanted.marker.evaluate(here):
            version = locked.get(canonicalize_name(wanted.name), "")
            assert version, f"{wanted.name} is not in requirements.lock; run make lock"
            assert wanted.specifier.contains(version, prereleases=True), f"{wanted} is {version}"


def test_the_micro_interpreter_is_locked_for_linux_x86_64_alone() -> None:
    (entry,) = [entry for entry, _ in lock_entries() if entry.name == "tflite-micro"]
    assert entry.marker is not None
    fits = {name for name in PLATFORMS if entry.marker.evaluate(environment(name, "3.11"))}
    assert fits == {"Linux x86-64"}


def test_every_locked_version_is_exact_and_has_sha256_hashes() -> None:
    entries = lock_entries()
    assert len(entries) > 50
    for entry, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(entry.specifier)), entry
        assert entry.url is None, entry
        assert hashes, f"{entry} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), entry


@pytest.mark.parametrize(
    "word", ["http", "file:", "index-url", "find-links", "/home", "/tmp", "@ "]
)
def test_the_lock_names_no_host_and_no_folder(word: str) -> None:
    assert word not in lock_text()


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, count in (
        ("dependencies", len(project()["project"]["dependencies"])),
        ("dev", len(project()["project"]["optional-dependencies"]["dev"])),
    ):
        block = re.search(rf"^{name} = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
        assert block is not None
        lines = block[1].splitlines()
        assert len(lines) == count, f"one line for each entry of {name}"
        for line in lines:
            assert re.fullmatch(r'  "[^"]+", +# \S.{3,}', line), f"no reason: {line.strip()}"


def imported(*folders: str) -> set[str]:
    """The distributions that modules of these folders import by name."""
    names: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).partition(".")[0])
    homes = packages_distributions()
    here = {"autosearch", "dashboard", *sys.stdlib_module_names}
    return {canonicalize_name(homes[name][0]) for name in names - here if name in homes}


def test_every_package_that_is_imported_is_declared() -> None:
    extras = project()["project"]["optional-dependencies"]
    optional = {Requirement(line).name for name in extras if name != "dev" for line in extras[name]}
    known = {canonicalize_name(wanted.name) for wanted in declared()} | optional
    development = {canonicalize_name(Requirement(line).name) for line in extras["dev"]}
    # pydantic pins the one version of it that it works with.
    assert imported("autosearch", "dashboard") - {"pydantic-core"} <= known - development
    assert imported("tests", "benchmarks", "studies", "docs") <= known


def test_every_runtime_dependency_has_a_lower_bound() -> None:
    for line in project()["project"]["dependencies"]:
        operators = {specifier.operator for specifier in Requirement(line).specifier}
        assert operators & {">=", "=="}, line


def test_the_locked_pythons_are_the_ones_that_the_project_takes() -> None:
    accepted = SpecifierSet(project()["project"]["requires-python"])
    minor_versions = [f"3.{minor}" for minor in range(9, 20)]
    assert [version for version in minor_versions if version in accepted] == list(PYTHONS)


@needs_make
def test_an_unfit_python_is_refused_in_one_line(tmp_path: Path) -> None:
    too_old = tmp_path / "python3"
    too_old.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n'
    )
    too_old.chmod(0o755)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (tmp_path / "Makefile").write_text(makefile)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()

    def make(python: str) -> str:
        done = subprocess.run(
            ["make", "test", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 2
        return done.stderr

    assert "Python 3.9.1 does not fit, 3.11 to 3.13 does" in make(str(too_old))
    assert "No no-such-python found" in make("no-such-python")
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_ci_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    commands = script.read_text(encoding="utf-8").splitlines()
    assert commands[-2:] == ["make check", "make test"]
    assert "set -euo pipefail" in commands


def test_the_command_line_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autosearch", "--version"], capture_output=True, text=True
    )
    version = project()["project"]["version"]
    assert (done.returncode, done.stdout) == (0, f"autosearch {version}\n")
