"""Commands about what reviewers look at.

Belongs here: ``report``. Does not belong here: serving the pages (``ui``), comparing runs
(``comparison``).
"""

from pathlib import Path
from typing import Any

import click

from panoptic_assets.cli.opening import open_runner
from panoptic_assets.cli.terminal import say


@click.command()
@click.argument("key")
@click.option("--projection", help="Of the map; by default the best there is.")
@click.pass_obj
def report(folder: Path | None, key: str, projection: str | None) -> None:
    """Write the run KEY, with all that was divided below it, as pages to look through.

    `panoptic-assets ui` serves them; they can be opened from the disk, too.
    """
    from panoptic_assets.spec.keys import parse_run_key

    parse_run_key(key)
    given: dict[str, Any] = {} if projection is None else {"projection": projection}
    say(str(open_runner(folder).report(key, given)))
