"""Commands about labels: naming the clusters of a run.

Belongs here: ``label``, the same under the name that FiftyOne's plugin has for it, and ``name``,
which is by hand. Does not belong here: saving clusters under their labels (``tags``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from panoptic_assets.cli.late import LateOptions, late
from panoptic_assets.cli.listings import print_labels
from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.options import below_folder, parameter_options
from panoptic_assets.cli.terminal import say
from panoptic_assets.spec.text import printable
from resources.errors import InputError


def _common_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--seed", type=int, help="Seed of all that is random.")(command)
    command = click.option(
        "--replace-names",
        is_flag=True,
        default=None,
        help="Name those clusters as well that were named by hand.",
    )(command)
    return click.option(
        "--label-remainder", is_flag=True, default=None, help="Name remainders as well."
    )(command)


def _all_options(command: Callable[..., None]) -> Callable[..., None]:
    from panoptic_assets.labels.config import LABEL_METHODS
    from panoptic_assets.spec.extensions import name_of

    names = [name_of(method) for method in LABEL_METHODS]
    command = parameter_options(LABEL_METHODS, {"templates": "template"})(command)
    return click.option(
        "--method",
        type=click.Choice(names),
        help="Who names the clusters; zero_shot by default, or the method that the options "
        "belong to.",
    )(command)


def _vision_options(command: Callable[..., None]) -> Callable[..., None]:
    from panoptic_assets.labels.labellers import VisionModel

    return parameter_options((VisionModel,), {})(command)


@click.command(cls=LateOptions)
@click.argument("key")
@late(_all_options)
@_common_options
@click.pass_obj
def label(folder: Path | None, key: str, method: str | None, **options: Any) -> None:
    """Name the clusters of the run KEY, and of all that is divided below them.

    Names are suggestions: `panoptic-assets save` takes them up, and numbers stay what they are.
    """
    _label(folder, key, method, options)


@click.command()
@click.argument("node")
@click.argument("name")
@click.pass_obj
def name(folder: Path | None, node: str, name: str) -> None:
    """Name the cluster NODE by hand; '' takes its name away.

    `panoptic-assets label` leaves such names as they are, unless it is given --replace-names.
    """
    done = open_project(folder).name(node, name)
    called = printable(done["name"]) or "its number alone"
    say(f"{done['node']} is called {called} now")


@click.command("label_clusters_with_gpt4v", cls=LateOptions)
@click.argument("key")
@late(_vision_options)
@_common_options
@click.pass_obj
def label_clusters_with_gpt4v(folder: Path | None, key: str, **options: Any) -> None:
    """Name the clusters of the run KEY by a vision language model.

    The same as `label --method vision_model`. Any endpoint that speaks OpenAI's protocol will do;
    the key is in the environment, in OPENAI_API_KEY.
    """
    _label(folder, key, "vision_model", options)


def _label(folder: Path | None, key: str, method: str | None, options: dict[str, Any]) -> None:
    from panoptic_assets.spec.keys import parse_run_key

    parse_run_key(key)
    given: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, ())
    }
    for name, value in given.items():
        if value == "":
            flag = name.replace("_", "-")
            raise InputError(
                "--{flag} is empty: give a value, or leave the option out.",
                id="option-empty",
                flag=flag,
            )
    project = open_project(folder)
    if "vocabulary" in given:
        given["vocabulary"] = below_folder(project.folder, given["vocabulary"])
    document: dict[str, Any] = {
        name: given.pop(name)
        for name in ("label_remainder", "replace_names", "seed")
        if name in given
    }
    document["method"] = {method or _labeller_of(given): given}
    project.label(key, **document)
    print_labels(project, key)


def _labeller_of(given: dict[str, Any]) -> str:
    """The labeller that the options belong to: the first that takes the most of them."""
    from panoptic_assets.labels.config import LABEL_METHODS
    from panoptic_assets.spec.extensions import name_of

    return name_of(max(LABEL_METHODS, key=lambda one: len(given.keys() & one.model_fields.keys())))
