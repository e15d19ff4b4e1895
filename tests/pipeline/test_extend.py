"""The page on extensions, whose package is installed and used, and classes that do it badly."""

import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

import click
import pytest
import yaml

import panoptic_assets
from panoptic_assets.cli.clustering import cluster, divide
from panoptic_assets.cli.labels import label
from panoptic_assets.cli.options import parameter_options
from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.clustering.config import KIND as METHOD_KIND
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.method_checks import method_checks
from panoptic_assets.clustering.methods import OURS as METHODS
from panoptic_assets.clustering.methods import KMeans
from panoptic_assets.labels.config import KIND as LABELLER_KIND
from panoptic_assets.labels.config import LabelsConfig
from panoptic_assets.labels.labellers import OURS as LABELLERS
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


class Foldered(LabellerConfig):
    """Has a parameter that the command line gives to every command."""

    name: Literal["foldered"] = "foldered"
    folder: str = ""


class Greedy(MethodConfig):
    """Needs what there is not."""

    name: Literal["greedy"] = "greedy"
    needs: ClassVar[frozenset[str]] = frozenset({"money"})


class Listed(MethodConfig):
    """Needs a list."""

    name: Literal["listed"] = "listed"
    needs: ClassVar = ["tags"]


class Tables(MethodConfig):
    """Has a parameter that no form has a place for."""

    name: Literal["tables"] = "tables"
    table: dict[str, int] = {}
'''

OWN = '''
from typing import Literal

from panoptic_assets.clustering.methods import KMeans
from panoptic_assets.labels.labellers import VisionModel, ZeroShot
from panoptic_assets.labels.naming import Suggestion


class OwnMeans(KMeans):
    """Another k-means."""

    name: Literal["own-means"] = "own-means"


class OwnTerms(ZeroShot):
    """Other terms."""

    name: Literal["own_terms"] = "own_terms"


class OwnModel(VisionModel):
    """A model of its own."""

    name: Literal["own_model"] = "own_model"

    def suggest(self, clusters, data, seed):
        return [Suggestion(cluster.node, "seen") for cluster in clusters]
'''

USED = {
    "panoptic_assets.labellers": [
        "terms = my_clusters.own:OwnTerms",
        "model = my_clusters.own:OwnModel",
    ],
    "panoptic_assets.methods": ["means = my_clusters.own:OwnMeans"],
}

LEFT_OUT = {
    "panoptic_assets.labellers": {
        "unnamed = my_clusters.bad:Unnamed": "its name is a field, as in",
        "taken = my_clusters.bad:Taken": "there is a labeller 'zero_shot' already",
        "seeded = my_clusters.bad:Seeded": "no parameter can be called seed",
        "foldered = my_clusters.bad:Foldered": "no parameter can be called folder",
        "stranger = my_clusters.bad:Greedy": "it is no subclass of LabellerConfig",
    },
    "panoptic_assets.methods": {
        "broken = my_clusters.bad:Missing": "has no attribute 'Missing'",
        "greedy = my_clusters.bad:Greedy": "its needs are frozenset({'money'})",
        "listed = my_clusters.bad:Listed": "its needs are ['tags'], and can be a set of",
        "tables = my_clusters.bad:Tables": "its parameter table is no int",
    },
}


def installed(site, beside):
    """The path of the page's package as pip installs it, with other entry points by group."""
    (site / "my_clusters").mkdir()
    for name, text in {"labellers": LABELLER, "methods": METHOD, "bad": BAD, "own": OWN}.items():
        (site / "my_clusters" / f"{name}.py").write_text(text, encoding="utf-8")
    (site / "test_my_clusters.py").write_text(CHECKS, encoding="utf-8")
    project = PYPROJECT["project"]
    info = site / f"my_clusters-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, places in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in places.items())]
        lines += beside[group]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return str(site)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The path of the page's package, with classes that are broken beside."""
    beside = {group: [*USED[group], *LEFT_OUT[group]] for group in USED}
    beside["panoptic_assets.labellers"].append("bad = my_clusters.bad:Bad")
    return installed(tmp_path_factory.mktemp("site"), beside)


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
told["own"] = labelled(own_model={})
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


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("methods", ("Halves",)),
        ("labellers", ("FileNames",)),
        ("own", ("OwnMeans", "OwnTerms", "OwnModel")),
    ],
)
def test_a_class_is_found_where_its_own_module_is_imported_first(tmp_path, module, names):
    script = f"""
from my_clusters import {module}
from panoptic_assets.clustering.config import METHODS
from panoptic_assets.labels.config import LABEL_METHODS
print(*({{choice.__name__ for choice in METHODS + LABEL_METHODS}} & {{*{names}}}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env=environment(PYTHONPATH=installed(tmp_path, USED)),
        capture_output=True,
        text=True,
    )
    assert sorted(done.stdout.split()) == sorted(names), done.stderr


def asked_beside(command):
    """Names that a command takes, and those of its options on the command line."""
    parameters = command.get_params(click.Context(command))
    options = [option for one in parameters for option in one.opts if option.startswith("--")]
    given = inspect.signature(command.callback).parameters.values()
    return {
        *(option.removeprefix("--").replace("-", "_") for option in options),
        # No field of pydantic's begins with _, as click's name of --help does.
        *(one.name for one in parameters if not one.name.startswith("_")),
        *(one.name for one in given if one.kind is not one.VAR_KEYWORD),
    }


@pytest.mark.parametrize(
    ("kind", "ours", "config", "commands"),
    [
        (METHOD_KIND, METHODS, ClusteringConfig, (cluster, divide)),
        (LABELLER_KIND, LABELLERS, LabelsConfig, (label,)),
    ],
    ids=["methods", "labellers"],
)
def test_reserved_names_are_all_that_is_asked_for_beside_parameters(kind, ours, config, commands):
    asked = {*config.model_fields}.union(*map(asked_beside, commands))
    assert kind.reserved == asked - {name for one in ours for name in one.model_fields}


@pytest.mark.parametrize(
    ("of", "kind"),
    [("method", METHOD_KIND), ("labeller", LABELLER_KIND)],
    ids=["methods", "labellers"],
)
def test_the_page_lists_all_reserved_names(of, kind):
    [row] = re.findall(rf"^\| a {of} \| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert row == ", ".join(f"`{name}`" for name in sorted(kind.taken))


def test_another_packages_list_does_not_change_what_ours_get():
    class Several(KMeans):
        name: Literal["several"] = "several"
        nb_clusters: list[int] = []

    made = parameter_options((KMeans, Several), {})(click.Command("cluster", params=[]))
    assert not next(one for one in made.params if one.name == "nb_clusters").multiple


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
    assert "nb_clusters" in told["methods"]["own-means"]
    assert told["labellers"]["file_names"] == ["min_letters"]
    others = ["file_names", "own_terms", "own_model", "bad"]
    assert [*told["labellers"]] == ["zero_shot", "vision_model", *others]


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


def test_a_vision_model_that_suggests_by_itself_is_asked_to(told):
    assert [row["label"] for row in told["own"]] == ["seen", "seen"]


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
    assert "zero_shot: Terms of a vocabulary that fit a cluster's images" in said
    said_of = "A cluster whose best term scores less gets no label."
    assert f"  min_score (0.0, advanced): {said_of}" in said
    assert "  nb_images (5): Images of a cluster that are sent, drawn at random." in said
    line = refused("labellers", "gpt", cwd=tmp_path)
    assert line == "Error: There is no labeller 'gpt'. Existing ones: zero_shot, vision_model."
