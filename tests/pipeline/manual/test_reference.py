"""The reference of the manual says what the code is: made pages, and those written by hand."""

import ast
import functools
import re
import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml

import resources
from panoptic_assets.cli import main as command_line
from panoptic_assets.definitions import defs
from panoptic_assets.manual.contents import Page
from resources.project_folder import find
from tests.manual.reference import COMMAND, MADE, PAGES, ROOT, page
from tests.workbench import bench_of

NAMES = sorted(path.stem for path in PAGES.glob("*.md"))
LACKING = [
    ("inventory", None, {}),
    ("projection", "mini/pca", {}),
    ("cluster_labels", "demo", {"method": {"zero_shot": {"property": "Clustering"}}}),
    ("run_comparison", None, {"runs": ["demo", "folders"]}),
    ("tag_recommendations", None, {}),
]
"""What the demo does not materialize."""


def text_of(name):
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@functools.cache
def sections_of(name):
    return Page("en", f"reference/{name}").sections


@functools.cache
def trees():
    """The syntax of every module."""
    return [
        ast.parse(path.read_text(encoding="utf-8"))
        for folder in ("panoptic_assets", "resources")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


@pytest.mark.parametrize("name", MADE)
def test_a_page_that_is_made_is_what_the_code_says_now(name):
    assert text_of(name) == page(name), f"{name}.md is out of date: run `{COMMAND}`"


@pytest.mark.parametrize("name", NAMES)
def test_every_heading_of_a_page_can_be_linked(name):
    anchors = [section.anchor for section in sections_of(name)]
    assert len(anchors) == len(set(anchors))
    assert not [anchor for anchor in anchors if re.search(r"-\d+$", anchor)]


@pytest.mark.parametrize("name", NAMES)
def test_links_of_a_page_lead_to_headings(name):
    for target, anchor in re.findall(r"\]\(([\w./-]*?)(?:\.md)?#([\w-]+)\)", text_of(name)):
        there = [section.anchor for section in sections_of(target or name)]
        assert anchor in there, f"{target}#{anchor}"


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_of_a_table_lacks_its_meaning(name):
    for line in text_of(name).splitlines():
        if line.startswith("| "):
            assert all(cell.strip() for cell in line.strip("|").split("|")), line


def described(name):
    """The names in the tables of each section of a page."""
    return {
        section.title: re.findall(r"^\| `(\w+)`", section.text, re.MULTILINE)
        for section in sections_of(name)
    }


@pytest.fixture
def shown(demo_folder, one_mini, tmp_path):
    """For each asset the names of its metadata, from an event log and from further runs."""
    with dg.DagsterInstance.from_config(str(find(demo_folder).dagster_home)) as instance:
        found = {
            key.to_user_string(): {
                name
                for record in instance.fetch_materializations(key, limit=20).records
                for name in record.asset_materialization.metadata
            }
            for key in instance.all_asset_keys()
        }
    bench = bench_of(shutil.copytree(demo_folder, tmp_path / "project"))
    for asset, partition, config in LACKING:
        [event] = bench.run(asset, partition, **config).asset_materializations_for_node(asset)
        found[asset] = set(event.metadata)
    return found


def test_all_metadata_that_assets_show_are_described(shown):
    told = described("materializations")
    told["nested_clustering"] = told["clustering"]
    assert shown.keys() == {asset.key.to_user_string() for asset in defs.assets}
    missing = {asset: names - {*told[asset]} for asset, names in shown.items()}
    assert not any(missing.values()), missing


def test_all_metadata_that_are_described_are_in_the_code():
    known = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                known.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                known.add(node.target.id)
            elif isinstance(node, ast.FunctionDef):
                known.add(node.name)
    told = {name for names in described("materializations").values() for name in names}
    assert not {name for name in told if not {name, name.removeprefix("nb_")} & known}


def variables_read():
    """The names of environment variables that the code reads."""
    constants = {
        target.id: node.value.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }
    for tree in trees():
        looped = {
            node.target.id: [part.value for part in node.iter.elts]
            for node in ast.walk(tree)
            if isinstance(node, ast.For)
            and isinstance(node.iter, ast.Tuple)
            and all(isinstance(part, ast.Constant) for part in node.iter.elts)
        }
        for node in ast.walk(tree):
            read = None
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "os.environ.get",
                "os.getenv",
            ):
                read = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                read = node.slice
            elif isinstance(node, ast.Compare) and "os.environ" in map(
                ast.unparse, node.comparators
            ):
                read = node.left
            elif isinstance(node, ast.keyword) and node.arg == "envvar":
                read = node.value
            if isinstance(read, ast.Constant):
                yield read.value
            elif isinstance(read, ast.Name):
                known = {**vars(resources), **constants}
                yield from looped.get(read.id) or [known[read.id]]
            elif read is not None:
                yield "PANOPTIC_PROJECT"


def test_every_environment_variable_that_is_read_is_described():
    settings = (ROOT / "configs" / "dagster.yaml").read_text(encoding="utf-8")
    read = {*variables_read(), *re.findall(r"env: (\w+)", settings)}
    told = set(re.findall(r"`([A-Z_]+)`", text_of("environment")))
    assert {"PANOPTIC_PROJECT", "OPENAI_API_KEY", "LANG", "PANOPTIC_TIMEZONE"} <= read
    assert read <= told


def test_the_exit_codes_are_those_that_the_command_line_names():
    named = re.search(r"Exit codes: (.*)", command_line.__doc__, re.DOTALL)[1]
    codes = re.findall(r"(?:^|; )(\d+) ", " ".join(named.split()))
    assert re.findall(r"^\| (\d+) \|", text_of("environment"), re.MULTILINE) == codes


def test_the_files_of_a_project_that_are_described_are_those_that_are_there(demo_folder):
    table = Page("en", "reference/environment").section("files-of-a-project").text
    told = {Path(path) for path in re.findall(r"^\| `([\w./-]+)`", table, re.MULTILINE)}
    there = {
        path.relative_to(demo_folder)
        for folder in (".panoptic", "configs")
        for path in (demo_folder / folder).iterdir()
    }
    assert there <= told


def test_the_examples_of_configuration_are_yaml():
    for example in re.findall(r"```yaml\n(.*?)```", text_of("configuration"), re.DOTALL):
        assert isinstance(yaml.safe_load(example), dict)
