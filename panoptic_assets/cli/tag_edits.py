"""Commands that change tags: ``tag rename``, ``tag merge``, ``tag undo`` and the like.

Belongs here: one command for each edit, and many edits from a file. Does not belong here: what
edits mean (``tags.edits``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import output_console, say
from panoptic_assets.spec.text import printable
from resources.errors import InputError


@click.group("tag")
def tag_group() -> None:
    """Change tags: every change is an event of a log, and can be undone."""


def _edit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all edits have."""
    for option in (
        click.option("--reason", help="Why, for the tag log."),
        click.option("--author", help="Who edits; the user of the system by default."),
        click.option("--property", "property_name", help="The property; Clustering by default."),
    ):
        command = option(command)
    return command


def _edit(
    folder: Path | None,
    kind: str,
    fields: dict[str, Any],
    property_name: str | None,
    author: str | None,
    reason: str | None,
) -> None:
    if property_name is not None:
        fields["property"] = property_name
    project = open_project(folder)
    for event in project.edit([{kind: fields}], author, reason):
        if event["event"] is None:
            say(f"Event {event['number']}: {kind}, {event['change']}")
            continue
        [meant] = [each for each in project.tag_log() if each["number"] == event["event"]]
        other = "redo" if kind == "undo" else "undo"
        say(
            f"Event {event['number']}: {kind} of event {meant['number']}, {meant['kind']} "
            f"{meant['change']} (`panoptic-assets tag {other} {meant['number']}` takes it back)"
        )
        _say_notes(event)


def _say_notes(event: dict[str, Any]) -> None:
    for note in event["notes"]:
        say(f"  {note}")


@tag_group.command("create")
@click.argument("path")
@click.option("--colour", help="As #rrggbb.")
@_edit_options
@click.pass_obj
def tag_create(folder: Path | None, path: str, colour: str | None, **common: Any) -> None:
    """Make the tag PATH, such as 'animals > birds', with what is missing above it."""
    _edit(folder, "create", {"tag": path} | ({"colour": colour} if colour else {}), **common)


@tag_group.command("rename")
@click.argument("tag")
@click.argument("to")
@_edit_options
@click.pass_obj
def tag_rename(folder: Path | None, tag: str, to: str, **common: Any) -> None:
    """Call TAG, such as '9 > 1', TO; without the names above it."""
    _edit(folder, "rename", {"tag": tag, "to": to}, **common)


@tag_group.command("merge")
@click.argument("tags", nargs=-1, required=True)
@click.option("--into", required=True, help="The tag that stays; the others' images come to it.")
@_edit_options
@click.pass_obj
def tag_merge(folder: Path | None, tags: tuple[str, ...], into: str, **common: Any) -> None:
    """Merge TAGS into one."""
    _edit(folder, "merge", {"tags": list(tags), "into": into}, **common)


@tag_group.command("split")
@click.argument("tag")
@click.argument("name")
@click.argument("images", nargs=-1, required=True)
@_edit_options
@click.pass_obj
def tag_split(
    folder: Path | None, tag: str, name: str, images: tuple[str, ...], **common: Any
) -> None:
    """Take IMAGES, ids or paths, from TAG into a new tag NAME beside it."""
    _edit(folder, "split", {"tag": tag, "into": {name: list(images)}}, **common)


@tag_group.command("move")
@click.argument("tag")
@click.option("--under", default="", help="The tag above it from now on; none: the top.")
@_edit_options
@click.pass_obj
def tag_move(folder: Path | None, tag: str, under: str, **common: Any) -> None:
    """Move TAG, with all below it, under another one."""
    _edit(folder, "move", {"tag": tag, "under": under}, **common)


@tag_group.command("recolour")
@click.argument("tag")
@click.argument("colour")
@_edit_options
@click.pass_obj
def tag_recolour(folder: Path | None, tag: str, colour: str, **common: Any) -> None:
    """Give TAG a COLOUR, as #rrggbb; '' takes it away."""
    _edit(folder, "recolour", {"tag": tag, "colour": colour}, **common)


@tag_group.command("assign")
@click.argument("tag")
@click.argument("images", nargs=-1, required=True)
@click.option("--only", is_flag=True, help="The images lose their other tags of the property.")
@_edit_options
@click.pass_obj
def tag_assign(
    folder: Path | None, tag: str, images: tuple[str, ...], only: bool, **common: Any
) -> None:
    """Give TAG to IMAGES, ids or paths."""
    _edit(folder, "assign", {"tag": tag, "images": list(images), "only": only}, **common)


@tag_group.command("unassign")
@click.argument("tag")
@click.argument("images", nargs=-1, required=True)
@_edit_options
@click.pass_obj
def tag_unassign(folder: Path | None, tag: str, images: tuple[str, ...], **common: Any) -> None:
    """Take TAG from IMAGES, ids or paths."""
    _edit(folder, "unassign", {"tag": tag, "images": list(images)}, **common)


@tag_group.command("reassign")
@click.argument("tag")
@click.argument("to")
@click.argument("images", nargs=-1, required=True)
@_edit_options
@click.pass_obj
def tag_reassign(
    folder: Path | None, tag: str, to: str, images: tuple[str, ...], **common: Any
) -> None:
    """Give IMAGES, ids or paths, the tag TO in place of TAG."""
    _edit(folder, "reassign", {"tag": tag, "to": to, "images": list(images)}, **common)


@tag_group.command("accept")
@click.argument("tag")
@click.argument("images", nargs=-1)
@click.option("--best", type=click.IntRange(1), help="So many of its best proposals, as stored.")
@_edit_options
@click.pass_obj
def tag_accept(
    folder: Path | None, tag: str, images: tuple[str, ...], best: int | None, **common: Any
) -> None:
    """Give TAG to IMAGES, ids or paths, which were recommended for it.

    Images that were not recommended may be accepted as well; all count for the tag's precision. An
    image of the remainder leaves it.
    """
    if bool(images) == (best is not None):
        raise InputError(
            "Say what to accept: images, or --best with a number; one of the two.",
            id="images-or-best",
        )
    chosen = list(images)
    if best is not None:
        from panoptic_assets.tags.edits import DEFAULT_PROPERTY

        property_name = common["property_name"]
        rows = open_project(folder).recommendations(
            DEFAULT_PROPERTY if property_name is None else property_name, tag
        )
        chosen = rows["image_id"].to_pylist()[:best]
        if not chosen:
            raise InputError(
                "There is no proposal for {tag!r} that was not judged yet: look for others with "
                "`panoptic-assets recommend`, or name images.",
                id="no-open-proposal",
                tag=tag,
            )
        for row in rows.slice(0, best).to_pylist():
            say(f"{row['score']:.3f}  {row['path'] or row['image_id']}")
    _edit(folder, "accept", {"tag": tag, "images": chosen}, **common)


@tag_group.command("refuse")
@click.argument("tag")
@click.argument("images", nargs=-1, required=True)
@_edit_options
@click.pass_obj
def tag_refuse(folder: Path | None, tag: str, images: tuple[str, ...], **common: Any) -> None:
    """Say that TAG does not fit IMAGES, ids or paths: it is not recommended for them again."""
    _edit(folder, "refuse", {"tag": tag, "images": list(images)}, **common)


@tag_group.command("delete")
@click.argument("tag")
@_edit_options
@click.pass_obj
def tag_delete(folder: Path | None, tag: str, **common: Any) -> None:
    """Delete TAG, with all below it."""
    _edit(folder, "delete", {"tag": tag}, **common)


@tag_group.command("undo")
@click.argument("event", type=int, required=False)
@click.option("--author", help="Who edits; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def tag_undo(folder: Path | None, event: int | None, **common: Any) -> None:
    """Undo EVENT, a number of `tag log`; the last one by default."""
    fields = {} if event is None else {"event": event}
    _edit(folder, "undo", fields, property_name=None, **common)


@tag_group.command("redo")
@click.argument("event", type=int, required=False)
@click.option("--author", help="Who edits; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def tag_redo(folder: Path | None, event: int | None, **common: Any) -> None:
    """Redo EVENT, which was undone; the one undone last by default."""
    fields = {} if event is None else {"event": event}
    _edit(folder, "redo", fields, property_name=None, **common)


@tag_group.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--author", help="Who edits; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def tag_apply(folder: Path | None, file: Path, author: str | None, reason: str | None) -> None:
    """Do all edits of FILE, or none if one cannot be done.

    FILE is YAML: `edits:` with a list (see `tag edits`), or a run config of the asset `tags`. Or it
    is a table (.csv, .xlsx, .ods): a column `edit` with the kind, and one for each field; `|` parts
    several tags or images.
    """
    from panoptic_assets.spec.resolution import parse, registered_config
    from panoptic_assets.spec.tables import SUFFIXES
    from panoptic_assets.tags.config import EditsConfig
    from resources.project_folder import read_yaml

    known: dict[str, Any] | None
    if not file.is_file():  # opening a FIFO would wait for ever
        raise InputError(
            "{file} does not exist or is not a file: name a YAML file or a table.",
            id="no-file-of-edits",
            file=file,
        )
    if file.suffix.lower() in SUFFIXES:
        known = {"edits": _edits_of_table(file)}
    else:
        with read_yaml(file) as content:
            known = registered_config(content, "tags", str(file)) if "ops" in content else content
    config = parse(EditsConfig, known or {})
    if not config.edits:
        raise InputError(
            "{file} has no edits: write `edits:` with a list of them.",
            id="file-without-edits",
            file=file,
        )
    made = open_project(folder).edit(
        config.edits, author or config.author or None, reason or config.reason or None
    )
    for event in made:
        _say_notes(event)


def _edits_of_table(file: Path) -> list[Any]:
    from panoptic_assets.spec.tables import TableError, read_records
    from panoptic_assets.tags.edits import FIELDS, EditError, from_rows

    fields = {name for kinds in FIELDS.values() for possible in kinds for name in possible}
    try:
        with file.open("rb") as content:
            return from_rows(read_records(content, ["edit", *fields]))
    except (EditError, TableError) as error:
        raise InputError(
            "{file} cannot be used: {reason}", id="file-unusable", file=file, reason=error
        ) from error


@tag_group.command("edits")
def tag_edits() -> None:
    """Describe the edits that a file, or the Launchpad of `tags`, may hold."""
    from panoptic_assets.tags.edits import FIELDS

    for kind, (needed, possible) in FIELDS.items():
        parts = [f"{name} ({text})" for name, text in needed.items()]
        parts += [f"[{name} ({text})]" for name, text in possible.items()]
        say(f"{kind}: {', '.join(parts)}")


@tag_group.command("log")
@click.option("--number", type=click.IntRange(1), help="Only so many, the last ones.")
@click.pass_obj
def tag_log(folder: Path | None, number: int | None) -> None:
    """List the events of the tag log, oldest first."""
    from rich.table import Table
    from rich.text import Text

    listed = open_project(folder).tag_log()[-(number or 0) :]
    if not listed:
        say("No events yet: panoptic-assets save KEY")
        return
    grid = Table("event", "when", "who", "what", "property", "change", "why", box=None)
    for entry in listed:
        cells = [
            str(entry["number"]),
            f"{entry['at'].astimezone():%Y-%m-%d %H:%M}",
            entry["author"],
            entry["kind"] + (" (undone)" if entry["undone"] else ""),
            entry["property"],
            entry["change"],
            entry["reason"],
        ]
        style = "dim" if entry["undone"] else ""
        grid.add_row(*(Text(printable(cell), style) for cell in cells))
    output_console().print(grid)
