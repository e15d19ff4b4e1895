"""The files that others carry the project on by say what is so: one version, real places."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
FOR_DEVELOPERS = {"benchmarks", "test"}
"""Extras that nobody needs who uses the project."""


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_whole_and_of_the_projects_version_and_licence():
    """What the schema of CFF 1.2.0 demands, and what would be wrong with a release."""
    cited = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    for work in (cited, *cited["references"]):
        assert {"type", "title", "authors"} <= work.keys()
        people = [author.keys() & {"name", "family-names"} for author in work["authors"]]
        assert all(len(named) == 1 for named in people), work


def test_the_change_log_begins_with_the_next_version_and_then_has_the_projects():
    headings = re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", one) for one in headings[1:]]
    assert all(released), headings
    assert [one[1] for one in released[:1]] in ([], [PROJECT["version"]])


def test_the_change_log_groups_changes_as_keep_a_changelog_does():
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for version in text("CHANGELOG.md").split("\n## ")[1:]:
        found = re.findall(r"^### (.*)$", version, re.MULTILINE)
        assert found, version
        assert set(found) <= kinds
        assert len(found) == len(set(found)), found


def constraints():
    lines = [line for line in text("configs/deploy/constraints.txt").splitlines() if line]
    return [line for line in lines if not line.startswith("#")]


def test_constraints_are_one_version_of_each_package_in_order():
    pins = [re.fullmatch(r"([a-z0-9-]+)==([\w.]+)", line) for line in constraints()]
    assert all(pins), constraints()
    names = [pin[1] for pin in pins]
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    "extra", [None, *sorted({*PROJECT["optional-dependencies"]} - FOR_DEVELOPERS)]
)
def test_constraints_have_a_version_within_range_of_all_but_torch(extra):
    """Made anew by `python .ci/constraints.py` when a dependency comes or changes its range."""
    versions = dict(line.split("==") for line in constraints())
    asked = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for requirement in map(Requirement, asked):
        if (name := canonicalize_name(requirement.name)) != "torch":
            assert name in versions
            assert requirement.specifier.contains(versions[name], prereleases=True), requirement


def names_in(path):
    """Functions and classes of a file, and their methods with a dot."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{one.name}" for one in node.body if hasattr(one, "name"))


def test_the_places_that_newcomers_are_sent_to_are_there():
    told = text("CONTRIBUTING.md")
    places = re.findall(r"`([\w/]+\.py): ([\w.]+)`", told)
    assert len(places) == 24  # two for each of twelve questions
    assert {place for place in places if place[1] not in set(names_in(ROOT / place[0]))} == set()
    files = re.findall(r"`((?:panoptic_assets|resources|tests|configs)/[\w/.-]*)`", told)
    assert {name for name in files if not (ROOT / name).exists()} == set()


def test_newcomers_are_told_the_rooms_in_the_order_of_the_contract():
    told = (
        text("CONTRIBUTING.md").partition("**Imports run down only**")[2].partition("; inside")[0]
    )
    [contract] = [
        one for one in SETTINGS["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    ]
    layers = [room for level in reversed(contract["layers"]) for room in level.split(" : ")]
    assert re.findall(r"`(\w+)`", told) == ["resources", *layers]
