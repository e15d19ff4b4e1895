"""Commands about the project, its images, vectors and projections.

Belongs here: ``init``, ``demo``, ``refresh``, ``import-vectors``, ``project``, ``search``. Does not
belong here: the runs that divide images (``cli.clustering``).
"""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from panoptic_assets.cli.late import LateOptions, late
from panoptic_assets.cli.listings import print_clusters, print_tags
from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.options import (
    below_folder,
    check_tagging,
    given_projection,
    projection_options,
    tagging_options,
)
from panoptic_assets.cli.terminal import say, tell
from panoptic_assets.spec.text import counted
from resources.errors import InputError

if TYPE_CHECKING:
    from resources.project_folder import ProjectFolder

_SAMPLE = Path(__file__).parent.parent / "sample"
_DEMO_RUN = "demo"


@click.command()
@click.argument("images", metavar="FOLDER_OF_IMAGES", required=False)
@click.option(
    "--vector-type", default="mini", help="Default vector type: a file of configs/models."
)
@click.option(
    "--update",
    is_flag=True,
    help="Add to the dagster.yaml of a project that is there what this version ships since.",
)
@click.pass_obj
def init(folder: Path | None, images: str | None, vector_type: str, update: bool) -> None:
    """Make the working directory a project of images: a folder, an archive, a URL (s3://…, a
    IIIF manifest).
    """
    from panoptic_assets.orchestration.dagster_yaml import update_settings
    from panoptic_assets.spec.keys import parse_name
    from resources.project_folder import find

    if update:
        if images is not None:
            raise InputError(
                "`--update` is for a project that is there: leave the folder out.",
                id="update-with-folder",
            )
        added = update_settings(find(folder))
        for path, names in added.items():
            say(f"{path} has got {', '.join(names)}.")
        if not added:
            say("The project's dagster.yaml has all that this version ships.")
        return
    if images is None:
        raise click.MissingParameter(param_type="argument", param_hint="FOLDER_OF_IMAGES")
    parse_name(vector_type, "vector type")
    project = _create(folder, images, vector_type)
    say(f"{project.folder} is a project of {project.images}.")
    say("Next: panoptic-assets refresh")


@click.command()
@click.pass_obj
def demo(folder: Path | None) -> None:
    """Run the whole chain on the sample of 253 images that the project ships."""
    started = time.monotonic()
    project = open_project(_demo_project(folder).folder)
    known = bool(project.runs())
    project.refresh("mini")
    try:
        project.cluster(_DEMO_RUN)
        node = _DEMO_RUN
        for _ in range(2):
            # The last cluster is the least coherent one; k-means leaves no remainder.
            node = project.clusters(node)["node"].to_pylist()[-1]
            project.divide(node, method={"kmeans": {"nb_clusters": 2}})
        project.save(_DEMO_RUN)
        report = project.report(_DEMO_RUN)
    except InputError as error:
        if not known:
            raise
        # What is refused is refused in words for other commands, whose options this one lacks.
        raise InputError(
            "The demo of {folder} was changed since it was made, and is left as you made it. For "
            "a new demo, run `panoptic-assets demo` in an empty folder; to save this one's "
            "clusters as they are now: `panoptic-assets save {demo_run} --replace`. (What stopped "
            "the demo: {reason})",
            id="demo-was-changed",
            folder=project.folder,
            demo_run=_DEMO_RUN,
            reason=error,
        ) from error
    print_clusters(project, _DEMO_RUN)
    print_tags(project, None)
    say(f"Done in {time.monotonic() - started:.0f} s.")
    say(f"The data: {project.layout.store}")
    say(f"The report: {report}")
    command = "panoptic-assets ui"
    if Path.cwd() != project.folder:
        command = f"panoptic-assets --project {shlex.quote(str(project.folder))} ui"
    say(f"Your clusters in the browser: {command}")


@click.command()
@click.option(
    "--vector-type", multiple=True, help="Vector types to embed; the default one if none."
)
@click.option("--batch-size", type=int, help="Images in one pass of the model.")
@click.option(
    "--readers",
    type=click.IntRange(1, 64),
    help="Threads that read and decode; more help where the source is slow to answer.",
)
@click.option(
    "--accept-missing",
    is_flag=True,
    help="Go on when more is gone at once than `max_missing` of .panoptic/project.yaml allows: "
    "files, or values of the inventory.",
)
@click.option(
    "--reread",
    is_flag=False,
    flag_value="*",
    metavar="[PATTERN]",
    help="Read files again though nothing about them has changed: all, or those that match.",
)
@click.pass_obj
def refresh(
    folder: Path | None,
    vector_type: tuple[str, ...],
    batch_size: int | None,
    readers: int | None,
    accept_missing: bool,
    reread: str | None,
) -> None:
    """Read what is new in the images' folder, embed it, and find its nearest neighbours."""
    project = open_project(folder, readers=readers)
    project.refresh(
        *vector_type,
        batch_size=batch_size,
        accept_missing=accept_missing,
        reread=[] if reread is None else [reread],
    )
    import pyarrow.compute as pc

    files = project.files()
    unread = files.filter(pc.equal(files["status"], "quarantined")).to_pylist()
    if not len(files):
        tell(
            "No image was found there; `panoptic-assets manual your-images` says which files are "
            "images.",
            "yellow",
        )
    elif unread:
        tell(
            f"{counted(len(unread), 'file')} could not be read, such as {unread[0]['path']}: "
            f"{unread[0]['reason']}. `panoptic-assets diff 0 latest` names them all.",
            "yellow",
        )


@click.command("import-vectors")
@click.argument("key")
@click.argument("vectors", metavar="FILE")
@click.option("--ids", help="With a .npy: text file with the image id or path of each row.")
@click.option(
    "--field",
    help="The Parquet column that holds them, if it is not called vector or embedding; of a "
    "samples.json the field.",
)
@click.option("--model", required=True, help="What made the vectors, in words; recorded.")
@click.pass_obj
def import_vectors(
    folder: Path | None, key: str, vectors: str, ids: str | None, field: str | None, model: str
) -> None:
    """Make the vectors in a FILE of another program the vector type KEY.

    FILE is Parquet, .npy, or a samples.json of FiftyOne. Rows are named by image id or by path; a
    row of no image of the corpus is left out.
    """
    from panoptic_assets.spec.keys import parse_name

    parse_name(key, "vector type")
    project = open_project(folder)
    places = [below_folder(project.folder, place) if place else None for place in (vectors, ids)]
    project.import_vectors(key, places[0] or "", model, places[1], field)


@click.command("project", cls=LateOptions)
@click.argument("key")
@click.option("--nb-dimensions", type=int, help="Dimensions of the points; 2 by default.")
@late(projection_options)
@click.pass_obj
def make_projection(folder: Path | None, key: str, **options: Any) -> None:
    """Compute the points of the projection KEY, <vector type>/<name>, such as mini/umap."""
    from panoptic_assets.spec.keys import parse_projection

    parse_projection(key)
    project = open_project(folder)
    project.projection(key, **given_projection(options, project, key))


@click.command()
@click.option("--text", help="What to look for, in words.")
@click.option("--similar-to", metavar="IMAGE", help="What to look for: an image, by id or path.")
@click.option("--vector-type", help="Vectors to compare; the project's by default.")
@click.option("--number", type=int, help="Images at most; 100 if no limit is given.")
@click.option("--min-similarity", type=float, help="The least cosine.")
@tagging_options
@click.pass_obj
def search(
    folder: Path | None,
    text: str | None,
    similar_to: str | None,
    vector_type: str | None,
    number: int | None,
    min_similarity: float | None,
    tag: str | None,
    property_name: str | None,
    author: str | None,
    reason: str | None,
) -> None:
    """List the images that are most similar to a text or to an image.

    To cluster them: `panoptic-assets cluster KEY --text …` or `--similar-to …`.
    """
    check_tagging(tag, property_name, author, reason)
    reader = open_project(folder)
    found = reader.search(text, similar_to, vector_type, number, min_similarity, report=tell)
    for row in found.to_pylist():
        say(f"{row['similarity']:.3f}  {row['path']}")
    if tag is not None:
        image_ids = found["image_id"].to_pylist()
        reader.tag(tag, image_ids, property_name, author, reason)


def _create(
    folder: Path | None, images: str, vector_type: str, runs: Sequence[str] = ()
) -> "ProjectFolder":
    from resources.project_folder import ProjectSettings, create

    return create(folder or Path.cwd(), ProjectSettings.of(images, vector_type), runs)


def _demo_project(folder: Path | None) -> "ProjectFolder":
    """The demo's project; one that another installation made is a project of that one's sample."""
    from resources.project_folder import find

    try:
        existing = find(folder or Path.cwd())
    except InputError:
        return _create(folder, str(_SAMPLE), "mini", [_DEMO_RUN])
    images = Path(existing.images)
    same = images.parts[-2:] == _SAMPLE.parts[-2:] and images.is_dir()
    if same and existing.settings.vector_type == "mini":
        return existing
    return _create(folder, str(_SAMPLE), "mini", [_DEMO_RUN])
