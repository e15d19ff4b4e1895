"""The command line: ``panoptic-assets``.

Belongs here: commands that materialize assets through Dagster on the project's own instance, and
commands that print what the API reads. Does not belong here: anything that another door could not
do as well.

Exit codes: 0 done; 1 what was asked about is not so (``verify``, ``explain``, ``status
--exit-code``), or a run of a ``backfill`` failed; 2 what was asked cannot be done (one line says
why); 3 what was asked about is so, but nobody outside the store is a witness (``verify``); 130
interrupted by Ctrl-C. A fault of the program ends with 1, too, and a stack trace.
"""

import errno
import io
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import click

try:
    from resources import ENVIRONMENT_VARIABLE, URL_VARIABLE
    from resources.errors import InputError
except ImportError as error:
    # A common name: where another distribution has such a package, it may lie over ours or before
    # it. This is no InputError, which lies there.
    place = getattr(sys.modules.get("resources"), "__file__", None) or "none at all"
    sys.stderr.write(
        f"Error: The package `resources` that Python finds ({place}) is not that of "
        "panoptic_assets, but another distribution's: install panoptic_assets in an environment of "
        "its own (`pipx install`, `uv tool install`, or a new venv).\n"
    )
    raise SystemExit(2) from error

from panoptic_assets.cli.late import Late, LateGroup
from panoptic_assets.cli.terminal import tell
from panoptic_assets.orchestration.starting import fewer_collections
from panoptic_assets.spec.text import brief, printable

_INTERRUPTED = 128 + signal.SIGINT

_REMEDIES = {
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.EROFS: "the disk is read-only: choose a folder on another one",
    errno.ENOSPC: "make room and run the command again; what was committed is kept",
    errno.EDQUOT: "make room and run the command again; what was committed is kept",
    errno.EFBIG: "allow larger files and run the command again; what was committed is kept",
    errno.ENOTDIR: "move the file away that lies where a folder must be, or choose another folder",
    errno.EEXIST: "move the file away that lies where a folder must be, or choose another folder",
    errno.EISDIR: "move the folder away that lies where a file must be",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
_LANCE_ERROR = re.compile(r"LanceError\(IO\): (?P<reason>.*)", re.DOTALL)


class _PlainError(click.ClickException):
    exit_code = 2

    def __init__(self, message: str):
        super().__init__(printable(message))


class _Group(LateGroup):
    """Shows as one line what a person can mend: input, disks, networks."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        with fewer_collections():
            return super().main(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.Abort, KeyboardInterrupt):
            tell("Interrupted: what was committed is kept, and the same command goes on from it.")
            sys.stdout.flush()
            # Without waiting for threads: decoding a huge scan takes seconds, and cannot be
            # stopped. They write nothing.
            os._exit(_INTERRUPTED)
        except InputError as error:
            raise _PlainError(str(error)) from error
        except (OSError, RuntimeError, ValueError) as error:
            if found := _LANCE_ERROR.search(str(error)):
                number = re.search(r"\(os error (\d+)\)", found["reason"])
                remedy = _remedy(int(number[1]) if number else None)
                raise _PlainError(
                    f"The store{_place(context.obj)} failed: {brief(found['reason'])}: {remedy}."
                ) from error
            # EPIPE: whoever read the output has gone, which is click's part.
            if not isinstance(error, OSError) or error.errno == errno.EPIPE:
                raise
            raise _PlainError(_about(error)) from error


def _about(error: OSError) -> str:
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror or str(error) or type(error).__name__
    return f"{': '.join([*named, reason])}: {_remedy(error.errno)}."


def _place(folder: Path | None) -> str:
    """Where the store is: what Lance says of a full disk names no file."""
    from resources.project_folder import find

    try:
        return f" {find(folder).store}"
    except (InputError, OSError):
        return ""


def _remedy(number: int | None) -> str:
    return _REMEDIES.get(number or 0, "check the path, the disk and the network, then try again")


_COMMANDS = {
    "init": Late(
        "corpus:init",
        "Make the working directory a project of images: a folder, an archive, a URL (s3://…, a "
        "IIIF manifest).",
    ),
    "demo": Late(
        "corpus:demo", "Run the whole chain on the sample of 253 images that the project ships."
    ),
    "refresh": Late(
        "corpus:refresh",
        "Read what is new in the images' folder, embed it, and find its nearest neighbours.",
    ),
    "import-vectors": Late(
        "corpus:import_vectors",
        "Make the vectors in a FILE of another program the vector type KEY.",
    ),
    "project": Late(
        "corpus:make_projection",
        "Compute the points of the projection KEY, <vector type>/<name>, such as mini/umap.",
    ),
    "search": Late(
        "corpus:search", "List the images that are most similar to a text or to an image."
    ),
    "cluster": Late(
        "clustering:cluster", "Divide the corpus, or a part of it, into clusters, as the run KEY."
    ),
    "sweep": Late(
        "clustering:sweep",
        "Compute all runs of the sweep KEY, by configs/sweeps/KEY.yaml or by the options.",
    ),
    "divide": Late(
        "clustering:divide",
        "Divide one cluster again: NODE is its address, such as greek/3 or greek/3/0.",
    ),
    "leave-out": Late(
        "clustering:leave_out", "Cluster the run RUN again without IMAGES, ids or paths."
    ),
    "runs": Late("clustering:runs", "List all runs and the clusters that were divided again."),
    "run-info": Late(
        "clustering:run_info",
        "Print everything that is recorded of the run or divided node KEY, as YAML.",
    ),
    "clusters": Late(
        "clustering:clusters",
        "List the clusters of the run or divided node KEY, the most coherent first.",
    ),
    "members": Late(
        "clustering:members",
        "List the images of one cluster: NODE is its address, such as greek/3.",
    ),
    "methods": Late(
        "describing:methods",
        "Describe the clustering methods with all their parameters, or the method NAME.",
    ),
    "status": Late(
        "upkeep:status",
        "Say of all clusterings, labels and saved tags whether they are up to date, and why not.",
    ),
    "versions": Late(
        "upkeep:versions", "List the corpus versions: each refresh that changed something made one."
    ),
    "diff": Late(
        "upkeep:diff",
        "Say what became of the files between two corpus versions; by default the last two.",
    ),
    "policy": Late(
        "upkeep:policy", "Show what happens to the run KEY when the corpus changes, or choose it."
    ),
    "remark": Late(
        "remarks:remark", "Write the remark TEXT on SUBJECT; '' takes the one there is away."
    ),
    "remarks": Late(
        "remarks:remarks", "List the remarks on everything, or on SUBJECT, oldest first."
    ),
    "history": Late(
        "history:history",
        "List what was done, oldest first: clusterings, labels, edits of tags, remarks, removals.",
    ),
    "undo": Late(
        "history:undo",
        "Undo the act ID of `history`, or the last one that can be undone, whoever did it.",
    ),
    "redo": Late(
        "history:redo", "Do the act ID again, which was undone, or the one that was undone last."
    ),
    "remove": Late(
        "history:remove",
        "Remove the run or divided node KEY, with all that is divided below it.",
    ),
    "reconcile": Late(
        "history:reconcile",
        "Mend what the store and Dagster do not agree on, as after a deletion in Dagster's UI.",
    ),
    "replay": Late(
        "upkeep:replay",
        "Compute the run KEY, and all that is divided below it, again on the corpus of now.",
    ),
    "backfill": Late(
        "upkeep:backfill", "Apply their refresh policies to all runs, or to the runs KEYS."
    ),
    "label": Late(
        "labels:label", "Name the clusters of the run KEY, and of all that is divided below them."
    ),
    "name": Late("labels:name", "Name the cluster NODE by hand; '' takes its name away."),
    "label_clusters_with_gpt4v": Late(
        "labels:label_clusters_with_gpt4v",
        "Name the clusters of the run KEY by a vision language model.",
    ),
    "labellers": Late(
        "describing:labellers",
        "Describe what can name clusters, with all parameters, or the labeller NAME.",
    ),
    "compare": Late(
        "review:compare",
        "Compare two runs in full, or more of them all with all; without SIDE the newest ones.",
    ),
    "save": Late(
        "tags:save",
        "Save the whole tree of the run KEY as tags, under the labels of its clusters if it has "
        "some.",
    ),
    "tags": Late("tags:tags", "Show the tags of a property, or of all, as a tree."),
    "recommend": Late(
        "tags:recommend",
        "Recommend for each tag the images that fit it and carry no tag of its property.",
    ),
    "tag": Late(
        "tag_edits:tag_group", "Change tags: every change is an event of a log, and can be undone."
    ),
    "export": Late(
        "tags:export",
        "Write tags to the file DESTINATION for other programs, or as a tree of folders.",
    ),
    "import-tags": Late(
        "tags:import_tags",
        "Give images the tags that FILE names: .csv, .json or .parquet.",
    ),
    "import-panoptic": Late(
        "tags:import_panoptic",
        "Take the tags, values and vectors of a project of Panoptic, read in its FOLDER.",
    ),
    "import-fiftyone": Late(
        "tags:import_fiftyone",
        "Take the tags, values and vectors of a FiftyOneDataset, read in its FOLDER.",
    ),
    "retention": Late(
        "upkeep:retention",
        "Remove old Dagster runs and ticks, and give the room that they took back to the disk.",
    ),
    "report": Late(
        "review:report",
        "Write the run KEY, with all that was divided below it, as pages to look through.",
    ),
    "verify": Late(
        "proof:verify",
        "Compute the runs or nodes KEYS again on what they read, and compare every hash.",
    ),
    "explain": Late(
        "proof:explain",
        "Say why IMAGE carries a tag: from who gave it, to the run, the vector and the file.",
    ),
    "bundle": Late(
        "proof:bundle",
        "Write the evidence for the run KEY, with all that is divided below it, as one zip file.",
    ),
    "forget": Late(
        "upkeep:forget",
        "Remove each IMAGE (an id, the start of one, or a path) from everything that is kept.",
    ),
    "ui": Late(
        "serve:ui",
        "Open the project in a browser: its clusters, Dagster's UI and the manual, until Ctrl-C.",
    ),
    "manual": Late("manual:manual", "Show a page of the manual, or the places where WORDS are."),
    # As FiftyOne's clustering plugin calls it.
    "get_clustering_run_info": Late(
        "clustering:run_info",
        "Print everything that is recorded of the run or divided node KEY, as YAML.",
    ),
}


@click.group(
    cls=_Group,
    late=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`panoptic-assets manual` explains it all, in English and French.",
)
@click.option(
    "--project",
    type=click.Path(path_type=Path),
    envvar=ENVIRONMENT_VARIABLE,
    help="The project's folder; by default the working directory's.",
)
@click.version_option(package_name="panoptic-assets")
@click.pass_context
def main(context: click.Context, project: Path | None) -> None:
    """Turn a folder of images into clusters one can trust."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may have letters that a terminal lacks
            stream.reconfigure(errors="backslashreplace")
    if not os.environ.get(URL_VARIABLE, "").strip():
        # What commands and the UI make is looked at in the UI, which has the pages.
        os.environ[URL_VARIABLE] = "/"
    context.obj = project


if __name__ == "__main__":
    main()
