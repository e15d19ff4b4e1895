"""The command that removes old Dagster runs.

Belongs here: asking for it, and telling what was removed. Does not belong here: what may go
(``panoptic_assets.upkeep.retention``).
"""

from pathlib import Path

import click

from panoptic_assets.cli.terminal import say, tell
from panoptic_assets.orchestration.instance import instance_of
from panoptic_assets.spec.text import counted
from resources.project_folder import dagster_home, find


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
    from panoptic_assets.upkeep.retention import retain

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
