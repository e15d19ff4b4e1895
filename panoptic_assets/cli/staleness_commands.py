"""Commands about what has changed: in the corpus, and for what was made from it.

Belongs here: ``status``, ``versions``, ``diff``. Does not belong here: making anything again.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import output_console, say
from panoptic_assets.orchestration.instance import last_materialization
from panoptic_assets.spec.text import counted, printable
from resources.project_folder import dagster_home, find

_STYLES = {"stale": "yellow", "unknown": "magenta", "up to date": "green"}
_WORDS = {"division": "clustering", "labels": "labels", "property": "saved tags"}
_HASH_SHOWN = 12
_PATHS_SHOWN = 20


@click.command()
@click.argument("key", nargs=-1)
@click.option("--stale", "only_stale", is_flag=True, help="Leave out what is up to date.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--exit-code", is_flag=True, help="End with exit code 1 if something is stale, as for cron."
)
@click.pass_context
def status(
    context: click.Context, key: tuple[str, ...], only_stale: bool, as_json: bool, exit_code: bool
) -> None:
    """Say of all clusterings, labels and saved tags whether they are up to date, and why not.

    KEY is a run for all that belongs to it, a node such as greek/3, or property:NAME; several can
    be given. Stale is what would have another answer if it was made again now.
    """
    project = open_project(context.obj)
    found = project.status(*key)
    home = dagster_home(find(context.obj))
    found["corpus"]["refreshed_at"] = last_materialization(home, "images")
    standings = found["standings"]
    nb_stale = sum(one["state"] == "stale" for one in standings)
    if only_stale:
        standings = [one for one in standings if one["state"] != "up to date"]
    if as_json:
        _print_json(found | {"standings": standings})
    else:
        _print_corpus(found["corpus"])
        _print_standings(standings, len(found["standings"]), nb_stale)
    if exit_code and nb_stale:
        context.exit(1)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def versions(folder: Path | None, as_json: bool) -> None:
    """List the corpus versions: each refresh that changed something made one."""
    found = open_project(folder).corpus_versions()
    if as_json:
        _print_json(found)
        return
    if not found:
        say("No corpus version yet: panoptic-assets refresh")
        return
    grid = Table(box=None)
    grid.add_column("version", justify="right")
    grid.add_column("hash")
    grid.add_column("when")
    for heading in ("images", "files", "quarantined"):
        grid.add_column(heading, justify="right")
    grid.add_column("changes")
    for version in found:
        grid.add_row(
            str(version["number"]),
            version["sha256"][:_HASH_SHOWN],
            _moment(version["at"]),
            *(f"{version[name]:,}" for name in ("nb_images", "nb_files", "nb_quarantined")),
            ", ".join(f"{count:,} {what}" for what, count in version["changes"].items() if count),
        )
    output_console().print(grid)


@click.command()
@click.argument("old", required=False)
@click.argument("new", default="latest")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all paths.")
@click.option("--all", "all_paths", is_flag=True, help=f"List all paths, not {_PATHS_SHOWN} each.")
@click.pass_obj
def diff(folder: Path | None, old: str | None, new: str, as_json: bool, all_paths: bool) -> None:
    """Say what became of the files between two corpus versions; by default the last two.

    OLD and NEW are numbers, `latest`, the first 8 or more characters of a hash, or dates such as
    2026-11-20, for the corpus at the end of that day. 0 is the empty corpus.
    """
    found = open_project(folder).corpus_diff(old, new)
    if as_json:
        _print_json(found)
        return
    before, after = found["old"], found["new"]
    named = [
        f"version {one['number']}" + (f" ({_moment(one['at'])})" if one["number"] else " (empty)")
        for one in (before, after)
    ]
    say(
        f"From {named[0]} to {named[1]}: {before['nb_images']:,} → "
        f"{counted(after['nb_images'], 'image')}"
    )
    for what, paths in found["changes"].items():
        if not paths:
            continue
        say(f"{what}: {counted(len(paths), 'file')}")
        shown = paths if all_paths else paths[:_PATHS_SHOWN]
        for path in shown:
            say(f"  {path if isinstance(path, str) else _pair(what, *path)}")
        if len(paths) > len(shown):
            say(f"  … and {len(paths) - len(shown):,} more (--all)")
    if not any(found["changes"].values()):
        say("No file differs.")


def _pair(what: str, first: str, second: str) -> str:
    return f"{first} → {second}" if what == "moved" else f"{first}: {second}"


def _print_corpus(corpus: dict[str, Any]) -> None:
    if corpus["version"] is None:
        say("Corpus: no version yet; `panoptic-assets refresh` makes one.")
    else:
        say(
            f"Corpus version {corpus['version']} ({corpus['sha256'][:_HASH_SHOWN]}): "
            f"{counted(corpus['nb_images'], 'image')}, changed {_moment(corpus['changed_at'])}"
        )
    refreshed = corpus["refreshed_at"]
    say(
        f"Last refresh: {_moment(refreshed) if refreshed else 'not known to this Dagster instance'}"
    )
    if corpus["nb_quarantined"]:
        say(f"In quarantine: {counted(corpus['nb_quarantined'], 'file')}")
    for vector_type, count in corpus["not_embedded"].items():
        if count:
            say(f"Not embedded as {vector_type}: {counted(count, 'image')}")


def _print_standings(standings: list[dict[str, Any]], total: int, nb_stale: int) -> None:
    if not total:
        say("No runs yet: panoptic-assets cluster KEY")
        return
    if standings:
        grid = Table("key", "what", "state", "why", box=None)
        for one in standings:
            state = Text(one["state"], _STYLES[one["state"]])
            words = (one["key"], _WORDS[one["what"]], state, one["text"])
            # A property's name may look like rich's mark-up for a style.
            grid.add_row(*(Text(printable(w)) if isinstance(w, str) else w for w in words))
        output_console().print(grid)
    say(f"{nb_stale:,} of {total:,} stale.")


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=2, default=datetime.isoformat))


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
