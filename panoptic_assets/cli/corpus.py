"""Commands about the project, its images, vectors and projections.

Belongs here: ``init``, ``demo``, ``refresh``, ``import-vectors``, ``project``, ``search``. Does not
belong here: the runs that divide images (``cli.clustering``).
"""

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from panoptic_assets.cli.late import LateOptions, late
from panoptic_assets.cli.listings import print_clusters, print_tags
from panoptic_assets.cli.opening import open_project, open_runner, reader_of
from panoptic_assets.cli.options import (
    below_folder,
    check_tagging,
    given_projection,
    projection_options,
    tagging_options,
)
from panoptic_assets.cli.terminal import TerminalReporter, say, tell
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
    """Make the working directory a project of a folder of images, or of its URL (s3://…)."""
    from panoptic_assets.orchestration.dagster_yaml import update_settings
    from panoptic_assets.spec.keys import parse_name
    from resources.project_folder import find

    if update:
        if images is not None:
            raise InputError("`--update` is for a project that is there: leave the folder out.")
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
    from panoptic_assets.runner import Runner

    started = time.monotonic()
    project = Runner(_demo_project(folder), TerminalReporter())
    known = bool(reader_of(project).runs())
    project.refresh(["mini"])
    try:
        project.divide_corpus(_DEMO_RUN, {})
        node = _DEMO_RUN
        for _ in range(2):
            # The last cluster is the least coherent one; k-means leaves no remainder.
            node = reader_of(project).clusters(node)["node"].to_pylist()[-1]
            project.divide_node(node, {"method": {"kmeans": {"nb_clusters": 2}}})
        project.save(_DEMO_RUN, {})
        report = project.report(_DEMO_RUN, {})
    except InputError as error:
        if not known:
            raise
        # What is refused is refused in words for other commands, whose options this one lacks.
        raise InputError(
            f"The demo of {project.folder.folder} was changed since it was made, and is left as "
            "you made it. For a new demo, run `panoptic-assets demo` in an empty folder; to save "
            f"this one's clusters as they are now: `panoptic-assets save {_DEMO_RUN} --replace`. "
            f"(What stopped the demo: {error})"
        ) from error
    print_clusters(reader_of(project), _DEMO_RUN)
    print_tags(reader_of(project), None)
    say(f"Done in {time.monotonic() - started:.0f} s.")
    say(f"The data: {project.folder.store}")
    say(f"The report: {report}")
    command = "panoptic-assets ui"
    if Path.cwd() != project.folder.folder:
        command = f"panoptic-assets --project {shlex.quote(str(project.folder.folder))} ui"
    say(f"The Dagster UI, at http://127.0.0.1:3000: {command}")


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
    help="Go on when the whole corpus or a whole top folder is gone.",
)
@click.pass_obj
def refresh(
    folder: Path | None,
    vector_type: tuple[str, ...],
    batch_size: int | None,
    readers: int | None,
    accept_missing: bool,
) -> None:
    """Read what is new in the images' folder, embed it, and find its nearest neighbours."""
    runner = open_runner(folder, readers)
    given = {} if batch_size is None else {"batch_size": batch_size}
    vector_types = list(vector_type) or [runner.registry.default_vector_type]
    runner.refresh(vector_types, given, accept_missing)


@click.command("import-vectors")
@click.argument("key")
@click.argument("vectors", metavar="FILE")
@click.option("--ids", help="With a .npy: text file with the image id or path of each row.")
@click.option("--model", required=True, help="What made the vectors, in words; recorded.")
@click.pass_obj
def import_vectors(
    folder: Path | None, key: str, vectors: str, ids: str | None, model: str
) -> None:
    """Make the vectors in a Parquet or .npy FILE the vector type KEY.

    Rows are named by image id or by path; a row of no image of the corpus is left out.
    """
    from pydantic import ValidationError

    from panoptic_assets.corpus.table import image_names
    from panoptic_assets.features import imported_vectors
    from panoptic_assets.features.table import model_identity
    from panoptic_assets.spec.keys import parse_name
    from resources.project_folder import explain_invalid
    from resources.schemas import vectors_table
    from resources.vectors_file import VectorsFile

    parse_name(key, "vector type")
    runner = open_runner(folder)
    places = [
        below_folder(runner.folder.folder, place) if place else None for place in (vectors, ids)
    ]
    try:
        file = VectorsFile(vectors=places[0] or "", ids=places[1], model=model)
    except ValidationError as error:
        raise InputError(explain_invalid(error)) from error
    # Refused here, before the registry names a file that cannot be used.
    stored = model_identity(runner.store, key)
    if stored and (differing := file.differences(stored)):
        raise InputError(
            f"The key {key!r} has vectors of another model ({'; '.join(differing)}): choose a new "
            "key."
        )
    batches = file.batches(runner.folder.folder)
    known = image_names(runner.store, runner.folder.images)
    imported_vectors.check_vectors(batches, known, vectors_table(key), runner.store)
    for note in known.notes:
        tell(note, "yellow")
    runner.registry.write_vectors_file(key, file)
    runner.materialize("embeddings", key)


@click.command("project", cls=LateOptions)
@click.argument("key")
@click.option("--nb-dimensions", type=int, help="Dimensions of the points; 2 by default.")
@late(projection_options)
@click.pass_obj
def make_projection(folder: Path | None, key: str, **options: Any) -> None:
    """Compute the points of the projection KEY, <vector type>/<name>, such as mini/umap."""
    from panoptic_assets.spec.keys import parse_projection

    parse_projection(key)
    runner = open_runner(folder)
    runner.project(key, given_projection(options, runner, key))


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
        open_runner(folder).tag(image_ids, tag, property_name, author, reason)


def _create(folder: Path | None, images: str, vector_type: str) -> "ProjectFolder":
    from resources.project_folder import ProjectSettings, create

    return create(folder or Path.cwd(), ProjectSettings.of(images, vector_type))


def _demo_project(folder: Path | None) -> "ProjectFolder":
    """The demo's project; one that another installation made is a project of that one's sample."""
    from resources.project_folder import find

    try:
        existing = find(folder or Path.cwd())
    except InputError:
        return _create(folder, str(_SAMPLE), "mini")
    images = Path(existing.images)
    same = images.parts[-2:] == _SAMPLE.parts[-2:] and images.is_dir()
    if same and existing.settings.vector_type == "mini":
        return existing
    return _create(folder, str(_SAMPLE), "mini")
