"""What a command loads before it answers: the speed of all commands rests on it.

Libraries are named, not seconds: how long a start takes, ``tests.benchmarks.latency`` says.
"""

import json
import os
import subprocess
import sys

import click
import pytest

from panoptic_assets.cli.main import main
from tests.commands import run
from tests.tiny import tiny_project

ALWAYS_LATE = {
    *("dagster", "sqlalchemy", "sklearn", "scipy", "hdbscan", "timm", "torch", "open_clip"),
    *("jinja2", "PIL", "lancedb", "lance_namespace", "pandas", "plotly", "fsspec", "uvicorn"),
}
"""What no command needs that only reads, or refuses."""
FOR_ANSWERS = {"lance", "pyarrow", "numpy", "pydantic", "yaml", "rich"}
"""What no command needs that shows its help, or refuses by the text of its arguments alone."""

_COMMAND = """
import json, runpy, sys
try:
    runpy.run_module("panoptic_assets.cli", run_name="__main__")
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def loaded(code, folder, *arguments, code_expected=0):
    """Top packages that a fresh process has loaded at its end."""
    variables = {k: v for k, v in os.environ.items() if k != "PANOPTIC_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code_expected, done.stdout + done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("arguments", [["--help"], ["tag", "--help"], ["runs", "--help"]])
def test_help_loads_nothing_that_an_answer_needs(arguments, tmp_path):
    found = loaded(_COMMAND, tmp_path, *arguments)
    assert found & (ALWAYS_LATE | FOR_ANSWERS) == set()
    assert "click" in found


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["--no-such-option"],
        ["runs", "--no-such-option"],
        ["cluster", ""],
        ["divide", "greek"],
        ["sweep", "a b"],
        ["clusters", "a/b/c"],
        ["members", "a//0"],
        ["run-info", "../a"],
    ],
)
def test_what_text_alone_refuses_loads_nothing_that_an_answer_needs(arguments, tmp_path):
    found = loaded(_COMMAND, tmp_path, *arguments, code_expected=2)
    assert found & (ALWAYS_LATE | FOR_ANSWERS) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["remarks"],
        ["clusters", "demo"],
        ["members", "demo/0"],
        ["run-info", "demo"],
        ["tags"],
        ["status"],
        ["versions"],
        ["policy", "demo"],
        ["history"],
    ],
)
def test_a_command_that_reads_loads_neither_dagster_nor_a_models_library(arguments, clustered):
    found = loaded(_COMMAND, clustered, *arguments)
    assert found & ALWAYS_LATE == set()
    assert "lance" in found


@pytest.mark.parametrize("arguments", [["clusters", "none"], ["run-info", "none"], ["tags", "No"]])
def test_a_refusal_by_the_store_loads_neither(arguments, clustered):
    assert loaded(_COMMAND, clustered, *arguments, code_expected=2) & ALWAYS_LATE == set()


def test_the_python_door_opens_without_dagster(tmp_path):
    code = "import json, sys, panoptic_assets.project; print(json.dumps(sorted(sys.modules)))"
    assert loaded(code, tmp_path) & ALWAYS_LATE == set()


def test_the_definitions_load_no_library_that_only_a_run_needs(tmp_path):
    code = "import json, sys, panoptic_assets.definitions; print(json.dumps(sorted(sys.modules)))"
    found = loaded(code, tmp_path)
    late = {"sklearn", "scipy", "hdbscan", "timm", "torch", "open_clip", "jinja2", "lancedb"}
    assert found & (late | {"lance_namespace", "pandas"}) == set()
    assert "dagster" in found


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    """The folder of a project of a few images with the run `demo`, by Dagster as commands do."""
    folder = tiny_project(tmp_path_factory.mktemp("started"), 12).folder
    run("refresh", cwd=folder)
    run("cluster", "demo", "--nb-clusters", "2", cwd=folder)
    run("save", "demo", cwd=folder)
    return folder


@pytest.mark.parametrize("name", sorted(main.late))
def test_the_list_of_commands_says_what_each_commands_own_help_begins_with(name):
    command = main.get_command(click.Context(main), name)
    known = click.Command(name, help=main.late[name].help)
    for width in (20, 45, 60, 80, 200):
        assert known.get_short_help_str(width) == command.get_short_help_str(width)


def test_the_list_of_commands_is_clicks_own_of_the_commands_themselves():
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.late}
    ours, clicks = click.HelpFormatter(width=100), click.HelpFormatter(width=100)
    main.format_commands(context, ours)
    click.Group(commands=commands).format_commands(context, clicks)
    assert ours.getvalue() == clicks.getvalue()
    assert main.list_commands(context) == sorted(commands)
