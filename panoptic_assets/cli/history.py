"""Commands about what was done: ``history``, ``undo``, ``redo``, ``remove``, ``reconcile``.

Belongs here: showing acts and taking them back, whatever they were. Does not belong here: the tag
log by itself (``tag_edits``), and forgetting an image, which cannot be undone (``upkeep``).
"""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import click

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import output_console, say
from panoptic_assets.spec.text import counted, printable, some
from resources.errors import InputError

_SHOWN = 12
_MISMATCHES_SHOWN = 40
_ON_MARKS = ("remark", "undo", "redo")
"""Kinds of acts whose key may be the id of an image or a tag."""


def _who_and_why(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--reason", help="Why; it is kept in the history."),
        click.option("--author", help="Who does it; the user of the system by default."),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--number", type=click.IntRange(1), help="Only so many, the last ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def history(folder: Path | None, number: int | None, as_json: bool) -> None:
    """List what was done, oldest first: clusterings, labels, edits of tags, remarks, removals.

    And choices of policies. Each has an id by which `undo` takes it back.
    """
    from rich.table import Table
    from rich.text import Text

    acts = open_project(folder).history(number)
    if as_json:
        click.echo(json.dumps(acts, ensure_ascii=False, indent=2, default=datetime.isoformat))
        return
    if not acts:
        say("Nothing yet: panoptic-assets cluster KEY")
        return
    grid = Table("act", "when", "who", "what", "of", "change", "why", box=None)
    for act in acts:
        cells = [
            act["id"],
            f"{act['at'].astimezone():%Y-%m-%d %H:%M}",
            act["author"],
            act["kind"] + (" (undone)" if act["undone"] else ""),
            _of(act),
            "; ".join([act["text"], *(f"renamed: {name}" for name in act["named"])]),
            act["reason"],
        ]
        style = "dim" if act["undone"] else ""
        grid.add_row(*(Text(printable(cell), style) for cell in cells))
    output_console().print(grid)


def _of(act: dict[str, Any]) -> str:
    """What an act was on, for people: the image or tag of a remark is named in its text."""
    by_id = act["kind"] in _ON_MARKS and act["key"].startswith(("image:", "tag:"))
    return "" if by_id else str(act["key"])


@click.command()
@click.argument("act", metavar="[ID]", required=False)
@_who_and_why
@click.pass_obj
def undo(folder: Path | None, act: str | None, **told: Any) -> None:
    """Undo the act ID of `history`, or the last one that can be undone, whoever did it.

    A clustering, labels, a policy, an edit of tags, a remark, a removal; of an undo, what it undid
    is done again. It is refused as long as something rests on it.
    """
    _say_undone(open_project(folder).undo(act, **told))


@click.command()
@click.argument("act", metavar="[ID]", required=False)
@_who_and_why
@click.pass_obj
def redo(folder: Path | None, act: str | None, **told: Any) -> None:
    """Do the act ID again, which was undone, or the one that was undone last."""
    _say_undone(open_project(folder).redo(act, **told))


def _say_undone(done: dict[str, Any]) -> None:
    verb, back = ("Undone", "redo") if done["done"] == "undo" else ("Done again", "undo")
    on = _of(done)
    of = f" of {on}" if on else ""
    say(
        f"{verb}: {done['act']}, {done['kind']}{of}: {done['change']} "
        f"(`panoptic-assets {back} {done['act']}` takes it back)"
    )
    for note in done["notes"]:
        say(f"  {note}")


@click.command()
@click.argument("key")
@click.option("--with-tags", is_flag=True, help="Delete the tags that were saved from it as well.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_who_and_why
@click.pass_obj
def remove(folder: Path | None, key: str, with_tags: bool, yes: bool, **told: Any) -> None:
    """Remove the run or divided node KEY, with all that is divided below it.

    Its clusterings, labels and pages, and its partitions and materializations in Dagster. It says
    first what that is and what rests on it, and asks. Saved tags stay, unless --with-tags. `undo`
    brings all of it back, but for the pages, which `report` writes again.
    """
    project = open_project(folder, key)
    found = project.removal(key)
    _say_removal(found, with_tags)
    if not yes:
        _ask(f"Remove {key}?")
    done = project.remove(key, with_tags, **told)
    say(f"Removed: {key} (`panoptic-assets undo {done['id']}` brings it back)")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "Nothing was removed: add --yes, since there is no terminal to ask on.",
            id="removal-not-confirmed",
        )
    click.confirm(question, abort=True, err=True)


def _say_removal(found: dict[str, Any], with_tags: bool) -> None:
    say(
        f"{found['key']} is {counted(len(found['clusterings']), 'clustering')} "
        f"({some(found['clusterings'], _SHOWN)}), with older revisions "
        f"{counted(found['nb_records'], 'record')}, and {counted(found['nb_labels'], 'label')}."
    )
    if found["pages"]:
        say(f"Its pages go: {found['pages']}")
    listed = [f"{name} {len(keys)}" for name, keys in found["partitions"].items() if keys]
    say(f"Partitions in Dagster that go, with what was materialized: {', '.join(listed)}")
    for saved in found["tags"]:
        what = "are deleted" if with_tags else "stay (--with-tags deletes them)"
        say(
            f"{counted(saved['nb_tags'], 'tag')} of the property {saved['property']!r} were saved "
            f"from it, and {what}."
        )
    if found["runs"]:
        say(f"Made from its answer, and stay: {some(found['runs'], _SHOWN)}")
    if found["sweeps"]:
        say(f"It is a run of the sweep: {some(found['sweeps'], _SHOWN)}")
    if found["files"]:
        say(f"Stay, since they are yours: {some(found['files'], _SHOWN)}")


@click.command()
@click.option("--check", is_flag=True, help="Only say; exit code 1 if there is something.")
@click.option(
    "--follow",
    type=click.Choice(["store", "dagster"]),
    default="store",
    show_default=True,
    help="Whose word counts: what the store has is told to Dagster, or what was deleted in Dagster "
    "is removed from the store.",
)
@click.option("--yes", is_flag=True, help="Do not ask before something is removed.")
@click.pass_context
def reconcile(
    context: click.Context, check: bool, follow: Literal["store", "dagster"], yes: bool
) -> None:
    """Mend what the store and Dagster do not agree on, as after a deletion in Dagster's UI.

    A partition that was deleted, an asset that was wiped, a run that was removed when its process
    died. What `--follow dagster` removes, `undo` brings back.
    """
    project = open_project(context.obj)
    if check or (follow == "dagster" and not yes):
        found = project.reconcile(check=True)["mismatches"]
        _say_mismatches(found)
        if check:
            context.exit(1 if found else 0)
        if not found:
            return
        _ask("Remove from the store what was deleted in Dagster?")
        done = project.reconcile(follow)
    else:
        done = project.reconcile(follow)
        _say_mismatches(done["mismatches"])
    if done["mismatches"]:
        say("Mended.")
    for mark in done["marks"]:
        say(f"Removed from the store (`panoptic-assets undo {mark}` brings it back)")


def _say_mismatches(found: list[dict[str, Any]]) -> None:
    for one in found[:_MISMATCHES_SHOWN]:
        say(one["text"])
    if len(found) > _MISMATCHES_SHOWN:
        say(f"… and {len(found) - _MISMATCHES_SHOWN:,} more")
    if not found:
        say("The store and Dagster agree.")
