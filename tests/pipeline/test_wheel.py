"""The wheel: what it holds, and that it works where nothing else of the project is."""

import email
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from tests.commands import environment
from tests.pictures import SAMPLE

ROOT = Path(__file__).parents[2]
PACKAGES = ("panoptic_assets", "resources")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
INFORMATION = f"panoptic_assets-{VERSION}.dist-info"


@pytest.fixture(scope="session")
def wheel(once):
    """The wheel's path; hatchling is what `python -m build` calls."""

    def write(folder):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    [found] = once("wheel", write).glob("*.whl")
    return found


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and the packages of the tests' environment behind it."""

    programs: Path

    def run(self, program, *arguments, cwd):
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=cwd,
            env={k: v for k, v in environment().items() if k != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def installed(wheel, once):
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip, which installs the wheel, is not in this environment")

    def write(folder):
        venv.create(folder, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
        subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", wheel], check=True)
        # Only now, or pip would find the project there. Files of that folder that end in .pth, such
        # as the one that leads to the checkout, are not followed from here.
        [packages] = folder.glob("lib/python*/site-packages")
        behind = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (packages / "behind.pth").write_text("\n".join(sorted(behind)) + "\n", encoding="utf-8")

    return Installed(once("installed", write) / "bin")


@pytest.fixture
def empty(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def belonging(there):
    """Those of some files that the project consists of: without what lies about, as .DS_Store."""
    try:
        command = ["git", "ls-files", "-z", *PACKAGES, "configs"]
        tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        known = there & set(tracked.stdout.split("\0"))
    except FileNotFoundError:
        known = set()
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    junk = GitIgnoreSpec.from_lines([*ignored, ".*", "*.pyc"])
    return known or {name for name in there if not junk.match_file(name)}


def test_the_wheel_holds_the_packages_whole_and_the_configs_and_no_tests(wheel):
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in (*PACKAGES, "configs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as opened:
        names = [name for name in opened.namelist() if not name.startswith(f"{INFORMATION}/")]
    held = {name.replace("panoptic_assets/configs/", "configs/") for name in names}
    assert belonging(there) <= held <= there
    # Whoever uses it has its types, its licences beside what they are about, and the manual.
    assert {f"{package}/py.typed" for package in PACKAGES} < held
    assert "panoptic_assets/manual/en/how-to/install.md" in held


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
        said = email.message_from_bytes(opened.read(f"{INFORMATION}/METADATA"))
    assert (said["Name"], said["Version"]) == ("panoptic-assets", VERSION)
    licences = said.get_all("License-File")
    assert {Path(name).name for name in licences} == {
        "LICENSE",
        "DEJAVU-LICENSE.txt",
        "WORDNET-LICENSE.txt",
    }
    assert {f"{INFORMATION}/licenses/{name}" for name in licences} < held


def test_an_installed_wheel_makes_clusters_in_an_empty_folder(installed, empty, mini_folder):
    """From `init` on, with the configs, the model's description and the commands of the wheel."""
    code = "import panoptic_assets, resources; print(panoptic_assets.__file__, resources.__file__)"
    places = installed.run("python", "-c", code, cwd=empty).split()
    assert all(Path(place).is_relative_to(installed.programs.parent) for place in places), places
    version = installed.run("panoptic-assets", "--version", cwd=empty)
    assert version.split()[-1] == VERSION

    shutil.copytree(SAMPLE / "tools", empty.parent / "images")
    installed.run("panoptic-assets", "init", empty.parent / "images", cwd=empty)
    assert (empty / "configs" / "models" / "mini.yaml").is_file()
    # For a reproducible installation, which a project is not about.
    assert not (empty / "configs" / "deploy" / "constraints.txt").exists()
    # It takes 10 CPU seconds to be built, which other tests watch.
    shutil.copytree(mini_folder / ".panoptic" / "models", empty / ".panoptic" / "models")
    installed.run("panoptic-assets", "refresh", cwd=empty)
    installed.run("panoptic-assets", "cluster", "first", "--nb-clusters", "2", cwd=empty)
    listed = installed.run("panoptic-assets", "clusters", "first", cwd=empty)
    assert "first/1" in listed


def test_dagster_finds_the_definitions_of_an_installed_wheel(installed, empty):
    arguments = ("definitions", "validate", "-m", "panoptic_assets.definitions")
    installed.run("python", "-m", "dagster", *arguments, cwd=empty)


def test_another_package_called_resources_is_named_in_one_line(tmp_path):
    """Both lie at the top of an environment: whichever is installed later, or lies before, wins."""
    other = tmp_path / "resources" / "__init__.py"
    other.parent.mkdir()
    other.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "panoptic_assets.cli", "--help"],
        cwd=SAMPLE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if str(other) in line] == [
        done.stderr.strip()
    ]
    assert "in an environment of its own" in done.stderr
