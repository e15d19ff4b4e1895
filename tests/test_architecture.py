"""The house: imports run down only, every topic in one room, every name with one meaning."""

import ast
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("panoptic_assets", "resources")
IN_EVERY_ROOM = {"__init__", "assets", "config", "table", "read"}
OF_EVERY_ACT = {"prepare", "run", "store"}
MOST_LINES = 400


def sources(root=ROOT):
    return [
        path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if "sample" not in path.parts
    ]


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def lint(folder):
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_imports_keep_the_contracts():
    """DESIGN 12: the direction in one sentence, as import-linter checks it."""
    found = lint(ROOT)
    assert found.returncode == 0, found.stdout


BREACHES = {
    "panoptic_assets/corpus/manifest.py": "import panoptic_assets.tags.assets",
    "panoptic_assets/spec/keys.py": "import dagster",
    "resources/decoding.py": "from dagster import Config",
    "panoptic_assets/clustering/quality.py": "import lancedb",
    "panoptic_assets/review/pages.py": "from resources.lance import LanceStore",
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("sample", "__pycache__", "*.csv", "*.gz")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


@pytest.mark.parametrize("file", BREACHES)
def test_a_planted_breach_is_found(file, copied):
    path = copied / file
    whole = path.read_text(encoding="utf-8")
    path.write_text(f"{whole}\n{BREACHES[file]}\n", encoding="utf-8")
    try:
        found = lint(copied)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert found.returncode == 1
    assert file.removesuffix(".py").replace("/", ".") in found.stdout


def test_imports_are_absolute_and_packages_re_export_nothing():
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert path.name != "__init__.py", path


def test_one_file_knows_the_insides_of_dagster():
    """All that a new minor version of Dagster can break lies in one place."""
    naming = [path.name for path in sources() if re.search(r"dagster(_\w+)?\._", path.read_text())]
    assert naming == ["insides.py"]


def rooms(path):
    return path.relative_to(ROOT).parts[:-1]


def test_no_module_name_stands_in_two_rooms():
    """`ls` answers where something is."""
    places = defaultdict(list)
    for path in sources():
        # A capability has its file of commands beside its room.
        if path.stem not in IN_EVERY_ROOM and "cli" not in path.parts:
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_name_of_a_class_or_public_function_has_two_meanings():
    places = defaultdict(list)
    for path in sources():
        # Functions of the command line are called as their commands; the program that checks
        # bundles stands alone.
        if "cli" in path.parts or path.stem == "bundle_check":
            continue
        for node in parsed(path).body:
            is_class = isinstance(node, ast.ClassDef)
            is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if is_class or (is_public and node.name not in OF_EVERY_ACT):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_long_file_says_why_it_is_long():
    """DESIGN 12: a file above some 400 lines has a reason in its docstring."""
    for path in sources():
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MOST_LINES:
            assert "Long because" in ast.get_docstring(parsed(path)), f"{path}: {lines} lines"
