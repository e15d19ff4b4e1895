"""Commands about remarks: ``remark``, ``remarks``.

Belongs here: writing and listing them. Does not belong here: what a remark can be about
(``tags.remarking``), and undoing one (``history``).
"""

from pathlib import Path
from typing import Any

import click

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import output_console, say
from panoptic_assets.spec.text import printable


@click.command()
@click.argument("subject")
@click.argument("text")
@click.option("--author", help="Who writes; the user of the system by default.")
@click.option("--reason", help="Why; it is kept in the history.")
@click.pass_obj
def remark(folder: Path | None, subject: str, text: str, **told: Any) -> None:
    """Write the remark TEXT on SUBJECT; '' takes the one there is away.

    SUBJECT is an image, by id or path, a run (greek), a cluster (greek/3), or a tag
    ('tag:Clustering:animals > birds'). TEXT is one line or a few, of 2,000 characters at most.
    """
    done = open_project(folder).remark(subject, text, **told)
    what = "Remarked on" if text.strip() else "No remark any more on"
    say(f"{what} {done['about']} (`panoptic-assets undo {done['act']}` takes it back)")


@click.command()
@click.argument("subject", required=False)
@click.pass_obj
def remarks(folder: Path | None, subject: str | None) -> None:
    """List the remarks on everything, or on SUBJECT, oldest first.

    One on a cluster that was made again, or on a tag that is gone, is marked as a former one's.
    """
    from rich.table import Table
    from rich.text import Text

    found = open_project(folder).remarks(subject)
    if not found:
        say("No remarks yet: panoptic-assets remark SUBJECT TEXT")
        return
    grid = Table("act", "when", "who", "on", "remark", box=None)
    for each in found:
        former = "" if each["current"] else f" (former: {each['record_id'] or each['subject']})"
        cells = [
            each["act"],
            f"{each['at'].astimezone():%Y-%m-%d %H:%M}",
            each["author"],
            each["about"] + former,
        ]
        lines = "\n".join(map(printable, each["text"].split("\n")))
        style = "" if each["current"] else "dim"
        grid.add_row(*(Text(printable(cell), style) for cell in cells), Text(lines, style))
    output_console().print(grid)
