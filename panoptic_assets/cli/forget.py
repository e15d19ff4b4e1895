"""Forgetting images.

Belongs here: ``forget``, its question before anything is removed, and what it says afterwards. Does
not belong here: what is done (``panoptic_assets.upkeep.forgetting``).
"""

import sys
from pathlib import Path

import click

from panoptic_assets.cli.opening import open_runner
from panoptic_assets.cli.terminal import say
from panoptic_assets.spec.text import counted, some
from resources.errors import InputError

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
    from panoptic_assets.spec.resolution import parse
    from panoptic_assets.tags.assets import author_of
    from panoptic_assets.tags.config import EditsConfig
    from panoptic_assets.upkeep.forgetting import find_images, unfinished

    runner = open_runner(folder)
    targets = find_images(runner.store, images, runner.folder.images, say)
    waiting = unfinished(runner.store)
    if not targets and not waiting:
        if images:
            say("Forgotten already: nothing is kept but the ids.")
            return
        raise InputError("Name at least one image: an id, the start of one, or a path.")
    if targets and not yes:
        if not sys.stdin.isatty():
            raise InputError(
                "To forget cannot be undone: add --yes, since there is no terminal to ask on."
            )
        nb_files = sum(len(target.paths) for target in targets)
        click.confirm(
            f"Forget {counted(len(targets), 'image')} ({counted(nb_files, 'path')})? All older "
            "versions of the tables go as well. This cannot be undone.",
            abort=True,
            err=True,
        )
    by = author_of(parse(EditsConfig, {"author": author}))
    for done in runner.forget(targets, by, reason):
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
