"""Commands about tags: saving, editing, completing and exchanging them.

Belongs here: ``save``, ``tags``, ``tag …``, ``recommend``, ``export``, ``import-tags``,
``import-panoptic``, ``import-fiftyone``. Does not belong here: what edits mean (``tags.edits``).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from panoptic_assets.cli.listings import print_tags
from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import decimals, output_console, say, tell
from panoptic_assets.spec.text import counted, printable
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.tags.exchange.transfer import Imported


@click.command()
@click.argument("key")
@click.option("--property", "property_name", help="Name of the property; Clustering by default.")
@click.option("--depth", type=click.IntRange(1), help="Levels of the tree to save; all by default.")
@click.option("--replace", is_flag=True, help="Allow to replace the property's tags.")
@click.option(
    "--min-overlap",
    type=click.FloatRange(0, 1),
    help="Least overlap for a tag to follow its cluster unasked; 0.5 by default.",
)
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="TAG=CLUSTER",
    help="The cluster that a tag belongs to now, such as 'Vases=3' or '4 > 0=5/1'; 'Vases=' for "
    "none. Can be repeated.",
)
@click.option("--no-labels", is_flag=True, help="Call tags by numbers, not by labels.")
@click.option("--author", help="Who saves; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def save(
    folder: Path | None,
    key: str,
    property_name: str | None,
    depth: int | None,
    replace: bool,
    min_overlap: float | None,
    matches: tuple[str, ...],
    no_labels: bool,
    author: str | None,
    reason: str | None,
) -> None:
    """Save the whole tree of the run KEY as tags, under the labels of its clusters if it has some.

    When KEY was saved there before and then computed again, tags follow their clusters.
    """
    from panoptic_assets.spec.keys import parse_run_key
    from panoptic_assets.spec.resolution import parse
    from panoptic_assets.spec.tag_log import normalised
    from panoptic_assets.tags.config import SaveConfig

    parse_run_key(key)
    if property_name == "":  # in a Launchpad an empty field is one that was not filled in
        raise InputError(
            "--property is empty: give a name, or leave the option out.", id="property-option-empty"
        )
    if without := [text for text in matches if "=" not in text]:
        raise InputError(
            "--match {match!r} names no cluster: write 'TAG=CLUSTER'.",
            id="match-without-cluster",
            match=without[0],
        )
    decided = {tag.strip(): to.strip() for tag, _, to in (t.rpartition("=") for t in matches)}
    given = {
        "property": property_name,
        "depth": depth,
        "min_overlap": min_overlap,
        "matches": decided or None,
        "use_labels": False if no_labels else None,
        "author": author,
        "reason": reason,
    }
    given = {name: value for name, value in given.items() if value is not None}
    parse(SaveConfig, given)
    project = open_project(folder)
    project.save(key, **given, replace=replace)
    print_tags(project, normalised(property_name or "Clustering"))


@click.command()
@click.argument("property_name", metavar="[PROPERTY]", required=False)
@click.pass_obj
def tags(folder: Path | None, property_name: str | None) -> None:
    """Show the tags of a property, or of all, as a tree."""
    print_tags(open_project(folder), property_name)


@click.command()
@click.option("--property", "property_name", help="Only the tags of this one; all by default.")
@click.option("--tag", help="Show this one only, of the property Clustering or --property.")
@click.option("--number", type=int, help="Proposals for each tag; 20 by default.")
@click.option("--vector-type", help="Vectors to compare; the project's by default.")
@click.option(
    "--include-remainder",
    is_flag=True,
    help="Treat a remainder's tag as any other, not as images without a tag.",
)
@click.option("--include-tagged", is_flag=True, help="Propose images that carry another tag, too.")
@click.pass_obj
def recommend(
    folder: Path | None, property_name: str | None, tag: str | None, **options: Any
) -> None:
    """Recommend for each tag the images that fit it and carry no tag of its property.

    Each has its score, up to 1, and its margin over the best other tag's score; the best ones come
    first, which have a high score and are not like another tag as well.

    Go on with `panoptic-assets tag accept` and `panoptic-assets tag refuse`.
    """
    from rich.table import Table
    from rich.text import Text

    if property_name == "":
        raise InputError(
            "--property is empty: give a name, or leave the option out.", id="property-option-empty"
        )
    # Not `in (None, False)`, which 0 is as well.
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    if property_name is not None:
        given["property"] = property_name
    project = open_project(folder)
    if tag is not None:
        project.recommendations(property_name, tag)  # refused if there is no such tag
    project.recommend(**given)  # which says of what property nothing is recommended, and why
    rows = project.recommendations(property_name, tag).to_pylist()
    if not rows:
        which = "" if tag is None else f" for {tag!r}: no image that is left is like those it has"
        say(f"Nothing to recommend{which}.")
        return
    grid = Table("tag", "image", box=None)
    for heading in ("score", "margin"):
        grid.add_column(heading, justify="right")
    several = len({row["property"] for row in rows}) > 1
    for row in rows:
        name = f"{row['property']}: {row['tag']}" if several else row["tag"]
        cells = [name, row["path"] or f"(missing) {row['image_id']}"]
        numbers = (decimals(row["score"], 3), decimals(row["margin"], 3))
        grid.add_row(*(Text(printable(cell)) for cell in cells), *numbers)
    output_console().print(grid)


@click.command()
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--property", "property_name", help="Only this property; all by default.")
@click.option(
    "--run", help="A run as it is, in place of saved tags; of images, its clusters beside them."
)
@click.option(
    "--format",
    "wanted",
    type=click.Choice(
        [
            *("csv", "parquet", "json", "panoptic", "fiftyone", "folders"),
            *("images", "omeka", "tropy"),
        ]
    ),
    help="By default, what the suffix of DESTINATION says.",
)
@click.option("--projection", help="Of images: the projection whose points go in.")
@click.option("--vector-type", help="Of images: the vector type whose vectors go in.")
@click.option("--thumbnails", is_flag=True, help="Of images: put small pictures in.")
@click.option("--title", help="Of omeka and tropy: the inventory's property with the titles.")
@click.option("--replace", is_flag=True, help="Allow to replace the file.")
@click.option("--copy", is_flag=True, help="Folders of copies, rather than of links.")
@click.pass_obj
def export(
    folder: Path | None,
    destination: Path,
    property_name: str | None,
    run: str | None,
    wanted: Any,
    replace: bool,
    copy: bool,
    **options: Any,
) -> None:
    """Write tags to the file DESTINATION for other programs, or as a tree of folders.

    images is a Parquet file of all images with tags, inventory, clusters, points and vectors, for
    viewers; omeka and tropy are CSV for these catalogues.
    """
    done = open_project(folder, run).export(
        destination, property_name, run, wanted, replace, copy, **options
    )
    say(
        f"{done.destination} ({done.format}): {counted(done.nb_images, 'image')}, "
        f"{counted(done.nb_tags, 'tag')}"
    )
    for file in done.beside:
        say(f"{file}: the tree and its colours")
    for note in done.notes:
        tell(note, "yellow")
    if done.nb_without_file:
        tell(f"Without a file by now: {counted(done.nb_without_file, 'image')}.", "yellow")
    if done.unreadable:
        first = ", ".join(done.unreadable[:5])
        tell(f"Could not be read: {counted(len(done.unreadable), 'file')}: {first}", "yellow")


@click.command("import-tags")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--property", "property_name", help="Only this property of the file.")
@click.option(
    "--mode",
    type=click.Choice(["add", "replace", "keep"]),
    default="add",
    help="Add tags (the default); replace the images' other tags of the property; or keep images "
    "that have one as they are.",
)
@click.option("--check", is_flag=True, help="Only say what would happen.")
@click.option("--author", help="Who imports; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def import_tags(
    folder: Path | None,
    file: Path,
    property_name: str | None,
    mode: Any,
    check: bool,
    author: str | None,
    reason: str | None,
) -> None:
    """Give images the tags that FILE names: .csv, .json or .parquet.

    Files of Panoptic and FiftyOne (CSVDataset, samples.json) are among them.
    """
    done = open_project(folder).import_tags(file, property_name, mode, check, author, reason)
    _tell_imported(done, file, check)


def _tell_imported(done: "Imported", file: Path, check: bool) -> None:
    for note in done.notes:
        tell(note, "yellow")
    if done.nb_unknown:
        more = ", …" if done.nb_unknown > len(done.unknown) else ""
        tell(
            f"Left out, since they are not in the corpus: {counted(done.nb_unknown, 'image')}:"
            f" {', '.join(done.unknown)}{more}",
            "yellow",
        )
    if done.nb_ambiguous:
        more = ", …" if done.nb_ambiguous > len(done.ambiguous) else ""
        tell(
            "Left out, since the name fits several images: "
            f"{counted(done.nb_ambiguous, 'image')}: {', '.join(done.ambiguous)}{more}",
            "yellow",
        )
    for change in done.changes:
        say(
            f"{change.property}: {counted(change.nb_new_tags, 'new tag')}, "
            f"{counted(change.nb_images, 'image')} {'would get' if check else 'got'} tags"
            + (f", {counted(change.nb_refused, 'refusal')}" if change.nb_refused else "")
        )
    if not done.changes:
        say(f"The tags already are what {file} says.")


@click.command("import-panoptic")
@click.argument("panoptic", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--property",
    "properties",
    multiple=True,
    help="Only this property of it; all by default. Can be repeated.",
)
@click.option(
    "--vectors",
    metavar="KEY",
    help="The vector type that its vectors become; KEY=NUMBER where it has several kinds of them.",
)
@click.option(
    "--mode",
    type=click.Choice(["add", "replace", "keep"]),
    default="add",
    help="Add tags (the default); replace the images' other tags of the property; or keep images "
    "that have one as they are.",
)
@click.option("--replace", is_flag=True, help="Allow to replace the files of an earlier import.")
@click.option("--check", is_flag=True, help="Only say what would happen.")
@click.option("--author", help="Who imports; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def import_panoptic(
    folder: Path | None,
    panoptic: Path,
    properties: tuple[str, ...],
    vectors: str | None,
    mode: Any,
    replace: bool,
    check: bool,
    author: str | None,
    reason: str | None,
) -> None:
    """Take the tags, values and vectors of a project of Panoptic, read in its FOLDER.

    Nothing in FOLDER changes. Values become panoptic.csv, an inventory.
    """
    done = open_project(folder).import_panoptic(
        panoptic, properties, mode, check, vectors, replace, author, reason
    )
    for note in done.notes:
        tell(note, "yellow")
    _tell_imported(done.tags, panoptic, check)
    if done.metadata:
        say(
            f"{done.metadata}: {counted(done.nb_properties, 'column')} of "
            f"{counted(done.nb_lines, 'line')}; `panoptic-assets refresh` reads them"
        )
    if done.vectors:
        say(f"{done.vectors}: {counted(done.nb_vectors, 'vector')}")


@click.command("import-fiftyone")
@click.argument("fiftyone", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--property",
    "properties",
    multiple=True,
    help="Only this property of it; all by default. Can be repeated.",
)
@click.option(
    "--vectors",
    multiple=True,
    metavar="KEY=FIELD",
    help="Make the vectors in this field the vector type KEY. Can be repeated.",
)
@click.option("--model", help="What made the vectors, in words; the field's name by default.")
@click.option(
    "--mode",
    type=click.Choice(["add", "replace", "keep"]),
    default="add",
    help="Add tags (the default); replace the images' other tags of the property; or keep images "
    "that have one as they are.",
)
@click.option("--replace", is_flag=True, help="Allow to replace the files of an earlier import.")
@click.option("--check", is_flag=True, help="Only say what would happen.")
@click.option("--author", help="Who imports; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def import_fiftyone(
    folder: Path | None,
    fiftyone: Path,
    properties: tuple[str, ...],
    vectors: tuple[str, ...],
    model: str | None,
    mode: Any,
    replace: bool,
    check: bool,
    author: str | None,
    reason: str | None,
) -> None:
    """Take the tags, values and vectors of a FiftyOneDataset, read in its FOLDER.

    Nothing in FOLDER changes. Values become fiftyone.csv, an inventory.
    """
    if without := [text for text in vectors if not all(text.partition("="))]:
        raise InputError(
            "--vectors {given!r} names no field: write 'KEY=FIELD', such as 'clip=embedding'.",
            id="vectors-without-fiftyone-field",
            given=without[0],
        )
    fields = {key: field for key, _, field in (text.partition("=") for text in vectors)}
    done = open_project(folder).import_fiftyone(
        fiftyone, properties, mode, check, fields, model, replace, author, reason
    )
    for note in done.notes:
        tell(note, "yellow")
    _tell_imported(done.tags, fiftyone, check)
    if done.metadata:
        say(
            f"{done.metadata}: {counted(done.nb_properties, 'column')} of "
            f"{counted(done.nb_lines, 'line')}; `panoptic-assets refresh` reads them"
        )
    for key, number in done.vectors.items():
        say(f"{key}: {counted(number, 'vector')}")
