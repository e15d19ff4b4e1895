"""Commands about runs whose corpus changes: their policies, and computing them again.

Belongs here: ``policy``, ``replay``, ``backfill``. Does not belong here: reading the corpus
(``corpus``), and what a policy does (``panoptic_assets.upkeep.refreshing``).

Long because each command is its options with their help.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from panoptic_assets.cli.late import LateOptions, late
from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import output_console, say, tell
from panoptic_assets.spec.text import counted, printable, some
from resources.errors import InputError


def _policy_argument(command: Callable[..., None]) -> Callable[..., None]:
    kind = click.Choice(_policies())
    return click.argument("policy", required=False, type=kind)(command)


def _policy_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--policy",
        type=click.Choice([*_policies(), "replay"]),
        help="For these runs, whatever their own policy is.",
    )(command)


def _policies() -> list[str]:
    from panoptic_assets.clustering.policies import POLICIES

    return [policy.model_fields["name"].default for policy in POLICIES]


@click.command(cls=LateOptions)
@click.argument("key")
@late(_policy_argument)
@click.option("--most-novel", type=float, help="Of assign: share of new images that may be unlike.")
@click.option("--most-new", type=float, help="Of assign: new images for each that was clustered.")
@click.pass_obj
def policy(
    folder: Path | None,
    key: str,
    policy: str | None,
    most_novel: float | None,
    most_new: float | None,
) -> None:
    """Show what happens to the run KEY when the corpus changes, or choose it.

    keep: nothing. assign: new images go to the nearest cluster. recluster: all is clustered again
    with the recorded parameters, and clusters keep their numbers.
    """
    from panoptic_assets.clustering.policies import parse_policy
    from panoptic_assets.spec.keys import parse_run_key

    parse_run_key(key)
    project = open_project(folder)
    limits = {"most_novel": most_novel, "most_new": most_new}
    given = {name: value for name, value in limits.items() if value is not None}
    if policy is None and not given:
        say(_shown(project.policy(key)))
        return
    chosen = parse_policy({policy or "assign": given}, "The command")
    name: str = chosen.name
    document: str | dict[str, Any] = {name: given} if given else name
    path = project.set_policy(key, document)
    tell(f"✓ {path}: {_shown({'refresh': document})}")


def _shown(document: Any) -> str:
    import yaml

    text = yaml.safe_dump(document, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip().removeprefix("{").removesuffix("}")


@click.command()
@click.argument("key")
@click.pass_obj
def replay(folder: Path | None, key: str) -> None:
    """Compute the run KEY, and all that is divided below it, again on the corpus of now.

    With the recorded parameters, stale clusterings too. Clusters keep the numbers of those with
    which they share most of their images.
    """
    from panoptic_assets.spec.keys import parse_run_key

    found = open_project(folder).backfill(parse_run_key(key), policy="replay")
    [row] = found["results"]
    for step in row["steps"]:
        say(f"{step['key']}: {step['text']}")
    if row["failed"] and not row["steps"]:
        raise InputError("failed: {reason}", id="run-not-replayed", reason=row["message"])
    _end(found)


@click.command(cls=LateOptions)
@click.argument("keys", nargs=-1)
@late(_policy_option)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def backfill(folder: Path | None, keys: tuple[str, ...], policy: str | None, dry_run: bool) -> None:
    """Apply their refresh policies to all runs, or to the runs KEYS.

    Exit code 1: one of them, or something of it, could not be done; the others were.
    """
    from rich.table import Table
    from rich.text import Text

    from panoptic_assets.upkeep.backfill import drift_text

    project = open_project(folder)
    applied = project.would_backfill if dry_run else project.backfill
    found = applied(*keys, policy=policy)
    if not found["nb_runs"]:
        say("No runs yet: panoptic-assets cluster KEY")
        return
    grid = Table("run", "policy", "what happened", "drift", box=None)
    for row in found["results"]:
        style = "red" if row["failed"] else ""
        happened = Text(printable(row["happened"]), style)
        grid.add_row(row["run_key"], row["policy"], happened, drift_text(row))
    if found["results"]:
        output_console().print(grid)
    if kept := found["nb_kept"]:
        say(f"Kept as {'it is' if kept == 1 else 'they are'}: {counted(kept, 'run')}")
    _end(found)


def _end(found: dict[str, Any]) -> None:
    for row in found["results"]:
        if row["drift"] and row["drift"]["due"]:
            again = f"panoptic-assets replay {row['run_key']}"
            tell(f"Clustering {row['run_key']} again is due: {again}", "yellow")
    if found["nb_failed"]:
        raise click.exceptions.Exit(1)


_STYLES = {"stale": "yellow", "unknown": "magenta", "up to date": "green"}
_WORDS = {"clustering": "clustering", "labels": "labels", "property": "saved tags"}
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
    from panoptic_assets.orchestration.instance import last_materialization
    from resources.project_folder import dagster_home, find

    project = open_project(context.obj)
    found = project.status(*key)
    home = dagster_home(find(context.obj))
    found["corpus"]["refreshed_at"] = last_materialization(home, "images")
    staleness = found["staleness"]
    nb_stale = sum(one["state"] == "stale" for one in staleness)
    if only_stale:
        staleness = [one for one in staleness if one["state"] != "up to date"]
    if as_json:
        _print_json(found | {"staleness": staleness})
    else:
        _print_corpus(found["corpus"])
        for asked in found["questions"]:
            say(f"To be answered since {_moment(asked['asked_at'])}: {asked['text']}")
        if found["inventory"]:
            _print_inventory(found["inventory"])
        _print_left_out(found["left_out"])
        _print_staleness(staleness, len(found["staleness"]), nb_stale)
    if exit_code and nb_stale:
        context.exit(1)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def versions(folder: Path | None, as_json: bool) -> None:
    """List the corpus versions: each refresh that changed something made one."""
    from rich.table import Table

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


def _print_inventory(inventory: dict[str, Any]) -> None:
    if inventory["problem"]:
        say(inventory["problem"])
    if inventory["taken_at"]:
        say(
            f"{'Values of' if inventory['unread'] else 'Inventory'} "
            f"{inventory['file']}: {counted(inventory['nb_lines'], 'line')}, "
            f"{inventory['nb_properties']:,} "
            f"{'property' if inventory['nb_properties'] == 1 else 'properties'}, read "
            f"{_moment(inventory['taken_at'])}"
        )
    if inventory["nb_unmatched"]:
        count = counted(inventory["nb_unmatched"], "line")
        say(f"{count} of the inventory without a file in the corpus:")
        for entry in inventory["unmatched"][:_PATHS_SHOWN]:
            nearest = f" (nearest: {entry['nearest']})" if entry["nearest"] else ""
            say(f"  line {entry['line']}: {entry['name']}{nearest}")
        _say_rest(inventory["nb_unmatched"] - len(inventory["unmatched"][:_PATHS_SHOWN]))
    if inventory["nb_findings"]:
        _print_findings(inventory)


def _print_findings(inventory: dict[str, Any]) -> None:
    columns = [f"{name} {count:,}" for name, count in inventory["left_out"].items()]
    others = inventory["nb_findings"] - inventory["nb_left_out"]
    left_out = f"{counted(inventory['nb_left_out'], 'cell')} left out"
    parts = [f"{left_out}: {some(columns, _SHOWN)}"] if columns else []
    if others:
        parts.append(f"{counted(others, 'other thing' if parts else 'thing')} to be looked at")
    say(f"In the inventory, {'; '.join(parts)}:")
    shown = inventory["findings"][:_PATHS_SHOWN]
    for same in shown:
        first = "; ".join(f"line {one['line']}: {one['value']}" for one in same["first"])
        column = f"{same['column']} " if same["column"] else ""
        say(f"  {column}{same['count']:,} ×: {same['cause']} ({first})")
    _say_rest(inventory["nb_findings"] - sum(same["count"] for same in shown))


def _say_rest(count: int) -> None:
    if count > 0:
        say(f"  … and {count:,} more")


def _print_left_out(found: dict[str, dict[str, Any]]) -> None:
    from panoptic_assets.corpus.accounting import in_a_line
    from resources.listing import LeftOut

    left_out = {
        kind: LeftOut(entry["files"], entry["folders"], Counter(entry["extensions"]))
        for kind, entry in found.items()
    }
    if left_out:
        say(in_a_line(left_out))


def _print_staleness(staleness: list[dict[str, Any]], total: int, nb_stale: int) -> None:
    from rich.table import Table
    from rich.text import Text

    if not total:
        say("No runs yet: panoptic-assets cluster KEY")
        return
    if staleness:
        grid = Table("key", "what", "state", "why", box=None)
        for one in staleness:
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


_SHOWN = 12


@click.command()
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--reason", default="", help="Why; it is kept in the certificate.")
@click.option("--author", default="", help="Who forgets; the user of the system by default.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(
    folder: Path | None, images: tuple[str, ...], reason: str, author: str, yes: bool
) -> None:
    """Remove each IMAGE (an id, the start of one, or a path) from everything that is kept.

    Rows of all tables with their older versions, thumbnails, reports that show it, Dagster's
    events. What is left is its id, so that the same content is left out when it comes again, and a
    certificate. Without an IMAGE, what was interrupted is completed.
    """
    from panoptic_assets.upkeep.forgetting import find_images, unfinished

    project = open_project(folder)
    store = project.store
    targets = find_images(store, images, project.layout.images, say)
    waiting = unfinished(store)
    if not targets and not waiting:
        if images:
            say("Forgotten already: nothing is kept but the ids.")
            return
        raise InputError(
            "Name at least one image: an id, the start of one, or a path.", id="no-image-named"
        )
    if targets and not yes:
        if not sys.stdin.isatty():
            raise InputError(
                "To forget cannot be undone: add --yes, since there is no terminal to ask on.",
                id="forget-not-confirmed",
            )
        nb_files = sum(len(target.paths) for target in targets)
        click.confirm(
            f"Forget {counted(len(targets), 'image')} ({counted(nb_files, 'path')})? All older "
            "versions of the tables go as well. This cannot be undone.",
            abort=True,
            err=True,
        )
    named = [target.image_id for target in targets]
    for done in project.forget(*named, author=author, reason=reason):
        found = done.certificate
        rows = ", ".join(f"{table} {count:,}" for table, count in found.rows.items())
        say(f"Forgotten: {counted(len(found.images), 'image')}. Certificate: {done.path}")
        say(f"  Rows removed or rewritten: {rows or 'none'}")
        say(
            f"  Older versions removed: {found.nb_versions:,}, of which pinned: {found.nb_pins:,}; "
            f"Dagster runs: {found.nb_dagster_runs:,}"
        )
        for report, command in zip(found.reports, found.write_again, strict=True):
            say(f"  Report removed: {report}; write it again: {command}")
        if found.records_that_held_it:
            say(f"  Records that held it: {some(found.records_that_held_it, _SHOWN)}")
        for what in found.outside:
            say(f"  Outside of our reach: {what}")
        if found.still_there:
            say(f"  STILL THERE, remove by hand: {some(found.still_there, _SHOWN)}")


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Runs and ticks that are older than this go.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def retention(folder: Path | None, days: int, dry_run: bool) -> None:
    """Remove old Dagster runs and ticks, and give the room that they took back to the disk.

    The newest materialization of each partition and the newest result of each check stay, and so
    does everything in the store: records, tags, and the tag log.
    """
    from panoptic_assets.orchestration.instance import instance_of
    from panoptic_assets.upkeep.retention import retain
    from resources.project_folder import dagster_home, find

    with instance_of(dagster_home(find(folder)), tell) as instance:
        removed = retain(instance, days, dry_run)
    for note in removed.notes:
        tell(note, "yellow")
    say(
        f"{counted(removed.runs, 'run')} and {counted(removed.ticks, 'tick')} older than "
        f"{counted(days, 'day')} {'would be' if dry_run else 'were'} removed; "
        f"{counted(removed.kept, 'old run')} kept, as the newest of something."
    )
    if not dry_run:
        say(
            f"The instance takes {removed.bytes_after / 1e6:,.1f} MB, "
            f"{removed.bytes_before / 1e6:,.1f} MB before."
        )
