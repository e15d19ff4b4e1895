"""The page on extensions, whose package is installed and used, and labellers that answer badly."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import panoptic_assets
from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.clustering.method_checks import method_checks
from tests.commands import environment, refused, run
from tests.tiny import tiny_project

PAGE = Path(panoptic_assets.__file__).parent / "manual" / "en" / "how-to" / "extend.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
LABELLER, METHOD, CHANGED, CHECKS = [text for language, text in BLOCKS if language == "python"]
[PYPROJECT] = [tomllib.loads(text) for language, text in BLOCKS if language == "toml"]

BAD = '''
from typing import ClassVar, Literal

from panoptic_assets.clustering.methods import MethodConfig
from panoptic_assets.labels.labellers import LabellerConfig
from panoptic_assets.labels.naming import Suggestion
from panoptic_assets.spec.computation import NotComputableError


class Bad(LabellerConfig):
    """Answers in any way."""

    name: Literal["bad"] = "bad"
    needs: ClassVar[frozenset[str]] = frozenset({"properties"})
    how: str = "well"
    property: str = ""

    def suggest(self, clusters, data, seed):
        named = [Suggestion(cluster.node, "x") for cluster in clusters]
        node = named[0].node
        if self.how == "raises":
            raise KeyError("a\\nb")
        if self.how == "refuses":
            raise NotComputableError("There are {few}.", id="few", few="few")
        return {
            "well": named,
            "wrong node": [*named[1:], Suggestion("greek/99", "x")],
            "two lines": [Suggestion(node, "one\\ntwo"), *named[1:]],
            "NaN": [Suggestion(node, "x", float("nan")), *named[1:]],
            "missing": named[1:],
            "no list": None,
        }[self.how]


class Unnamed(LabellerConfig):
    """Has no name."""


class Taken(LabellerConfig):
    """Has the name of another."""

    name: Literal["zero_shot"] = "zero_shot"


class Seeded(LabellerConfig):
    """Has a parameter that every labeller is asked for beside its own."""

    name: Literal["seeded"] = "seeded"
    seed: int = 0


class Greedy(MethodConfig):
    """Needs what there is not."""

    name: Literal["greedy"] = "greedy"
    needs: ClassVar[frozenset[str]] = frozenset({"money"})


class Tables(MethodConfig):
    """Has a parameter that no form has a place for."""

    name: Literal["tables"] = "tables"
    table: dict[str, int] = {}
'''

LEFT_OUT = {
    "panoptic_assets.labellers": {
        "unnamed = my_clusters.bad:Unnamed": "its name is a field, as in",
        "taken = my_clusters.bad:Taken": "there is a labeller 'zero_shot' already",
        "seeded = my_clusters.bad:Seeded": "no parameter can be called seed",
        "stranger = my_clusters.bad:Greedy": "it is no subclass of LabellerConfig",
    },
    "panoptic_assets.methods": {
        "broken = my_clusters.bad:Missing": "has no attribute 'Missing'",
        "greedy = my_clusters.bad:Greedy": "its needs are frozenset({'money'})",
        "tables = my_clusters.bad:Tables": "its parameter table is no int",
    },
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The path of the page's package as pip installs it, with classes that are broken beside."""
    site = tmp_path_factory.mktemp("site")
    (site / "my_clusters").mkdir()
    for name, text in {"labellers": LABELLER, "methods": METHOD, "bad": BAD}.items():
        (site / "my_clusters" / f"{name}.py").write_text(text, encoding="utf-8")
    (site / "test_my_clusters.py").write_text(CHECKS, encoding="utf-8")
    project = PYPROJECT["project"]
    info = site / f"my_clusters-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, places in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in places.items())]
        lines += LEFT_OUT[group]
        if group == "panoptic_assets.labellers":
            lines.append("bad = my_clusters.bad:Bad")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return str(site)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project of twelve images of cats, with the run `greek` of two clusters."""
    made = tmp_path_factory.mktemp("cats")
    project = tiny_project(made, 12)
    for file in sorted((made / "images").rglob("*.jpg")):
        file.rename(file.with_name(f"chat_zébré_{file.name}"))
    run("refresh", cwd=project.folder)
    run("cluster", "greek", "--nb-clusters", "2", cwd=project.folder)
    return project.folder


SCRIPT = """
import json
import dagster as dg
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.labels.config import LabelsConfig
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.instance import instance_to_read
from panoptic_assets.project import Project
from resources.errors import InputError

def methods(config):
    choices = schema_of(config).config_type.fields["method"].config_type.fields
    return {name: sorted(choice.config_type.fields) for name, choice in choices.items()}

def labelled(**asked):
    return project.label("greek", method=asked).to_pylist()

def said(**asked):
    try:
        return labelled(bad=asked)[0]["label"]
    except InputError as error:
        return str(error)

project = Project(".")
told = {"methods": methods(ClusteringConfig), "labellers": methods(LabelsConfig)}
told["labels"] = labelled(file_names={"min_letters": 5})
told["refused"] = {how: said(how=how) for how in HOWS}
told["property"] = said(property="Époque")
told["kept"] = project.labels("greek").to_pylist()
told["rows"] = project.store.read("labels", ["method", "config"]).to_pylist()
with instance_to_read(project._home) as instance:
    events = [
        entry.dagster_event
        for run in instance.get_runs()
        for entry in instance.all_logs(run.run_id, dg.DagsterEventType.STEP_FAILURE)
    ]
told["log"] = [event.step_failure_data.error.to_string() for event in events]
told["said"] = said(how="two lines")
print(json.dumps(told))
"""

REFUSED = {
    "raises": "The labeller 'bad' failed (KeyError: 'a\\nb'). Nothing was changed; take another",
    "refuses": "There are few.",
    "wrong node": "The labeller 'bad' answered what cannot be used: it named 'greek/99', which is "
    "none of the clusters. Nothing was changed; take another labeller, or tell its author.",
    "NaN": "of greek/0, the score nan is no number from 0 to 1",
    "missing": "it has no suggestion for greek/0",
    "no list": "it gave NoneType, not a list of suggestions",
}


@pytest.fixture(scope="module")
def told(package, folder):
    """What Python's face, the schemas, the store and Dagster's log say of the page's classes."""
    done = subprocess.run(
        [sys.executable, "-c", f"HOWS = {[*REFUSED]}\n{SCRIPT}"],
        cwd=folder,
        env=environment(PYTHONPATH=package),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"warnings": done.stderr}


def test_the_pages_own_tests_pass(package):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_clusters.py"],
        cwd=package,
        env=environment(PYTHONPATH=package),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[3-9]\d passed", done.stdout.splitlines()[-1]), done.stdout


def test_the_older_algorithm_of_the_page_still_answers():
    page = {"__name__": "page"}
    for block in (METHOD, CHANGED):
        exec(block, page)  # the page is what is tested
    changed = page["RoundedHalves"](share=0.25)
    for check in method_checks(changed):
        check()
    data = Data(page["np"].eye(6, dtype="float32"))
    assert [changed.computing(number)(data, 0).labels.sum() for number in (1, 2)] == [4, 4]
    assert changed.computing(1)(data, 0).labels.tolist() == [0, 0, 1, 1, 1, 1]


def test_another_packages_classes_are_choices_of_the_launchpad(told):
    """A27, A33, D62: other plugins may offer other ways; it is one more choice everywhere."""
    assert told["methods"]["halves"] == ["share"]
    assert told["labellers"]["file_names"] == ["min_letters"]
    assert [*told["labellers"]] == ["zero_shot", "vision_model", "file_names", "bad"]


def test_a_class_that_cannot_be_used_is_left_out_with_the_reason(told):
    for choices in LEFT_OUT.values():
        for entry, reason in choices.items():
            assert re.search(
                rf"entry point {re.escape(entry)} is left out: .*{re.escape(reason)}",
                told["warnings"],
            ), told["warnings"]


def test_another_packages_method_divides_and_is_recorded(package, folder):
    asked = ("--method", "halves", "--share", "0.25")
    answer = run("cluster", "h", *asked, cwd=folder, PYTHONPATH=package)
    assert "12 images in 2 clusters" in answer.stdout
    config = yaml.safe_load(run("run-info", "h", cwd=folder).stdout)["config"]
    assert config["method"] == {"halves": {"share": 0.25}}
    line = refused("cluster", "h", cwd=folder)
    assert "'halves'" in line, "a method that is gone is named"


def test_another_packages_labeller_names_clusters_from_the_command_line(package, folder):
    """D62; without --method the options say which labeller they are of."""
    answer = run("label", "greek", "--min-letters", "4", cwd=folder, PYTHONPATH=package)
    assert re.search(r"greek/0 +\d\.\d\d +(chat|zébré)", answer.stdout), answer.stdout


def test_another_packages_labeller_names_clusters_from_python(told):
    assert {row["label"] for row in told["labels"]} == {"zébré"}
    assert [row["node"] for row in told["labels"]] == ["greek/0", "greek/1"]


@pytest.mark.parametrize("how", REFUSED)
def test_a_labeller_that_answers_badly_is_refused_in_one_plain_line(told, how):
    said = told["refused"][how]
    assert REFUSED[how] in said
    assert len(said.splitlines()) == 1


def test_a_label_of_two_lines_becomes_one_line(told):
    assert told["said"] == "one two"


def test_a_property_that_the_inventory_lacks_is_refused_before_the_labeller_is_asked(told):
    expected = "The inventory has no property 'Époque'. Existing ones: none yet."
    assert told["property"] == expected
    assert not any("Époque" in text for text in told["log"]), "no Dagster run was started"


def test_labels_stay_when_a_labeller_fails(told):
    assert told["kept"] == told["labels"]
    [method] = {row["method"] for row in told["rows"]}
    [config] = {row["config"] for row in told["rows"]}
    assert (method, json.loads(config)) == ("file_names", {"min_letters": 5})


def test_the_log_of_dagster_says_where_a_labeller_failed(told):
    [trace] = [text for text in told["log"] if "KeyError" in text]
    assert "bad.py" in trace and "in suggest" in trace


@pytest.mark.parametrize(
    ("command", "name", "line"),
    [
        ("methods", "halves", "  share (0.5): Share of the first ones."),
        ("labellers", "file_names", "  min_letters (3): Letters that a word has at least."),
    ],
)
def test_another_packages_class_is_described_with_its_parameters(package, command, name, line):
    said = run(command, name, cwd=package, PYTHONPATH=package).stdout.splitlines()
    assert said[0].startswith(f"{name}: ")
    assert line in said


def test_the_labellers_are_described_with_their_parameters(tmp_path):
    said = run("labellers", cwd=tmp_path).stdout
    assert "zero_shot: The terms of a vocabulary whose texts are nearest" in said
    assert "  min_score (0.0): A cluster whose best term scores less gets no label." in said
    assert "  nb_images (5): Images of a cluster that are sent, drawn at random." in said
    line = refused("labellers", "gpt", cwd=tmp_path)
    assert line == "Error: There is no labeller 'gpt'. Existing ones: zero_shot, vision_model."
