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

from panoptic_assets.cli import (
    clustering,
    corpus,
    labels,
    proof,
    review,
    serve,
    tag_edits,
    tags,
    upkeep,
)
from panoptic_assets.cli.terminal import tell
from panoptic_assets.spec.text import brief, printable
from resources.errors import InputError
from resources.project_folder import ENVIRONMENT_VARIABLE, find

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


class _Group(click.Group):
    """Shows as one line what a person can mend: input, disks, networks."""

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
    try:
        return f" {find(folder).store}"
    except (InputError, OSError):
        return ""


def _remedy(number: int | None) -> str:
    return _REMEDIES.get(number or 0, "check the path, the disk and the network, then try again")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
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
    context.obj = project


for _command in (
    corpus.init,
    corpus.demo,
    corpus.refresh,
    corpus.import_vectors,
    corpus.make_projection,
    corpus.search,
    clustering.cluster,
    clustering.sweep,
    clustering.divide,
    clustering.runs,
    clustering.run_info,
    clustering.clusters,
    clustering.members,
    clustering.methods,
    upkeep.status,
    upkeep.versions,
    upkeep.diff,
    upkeep.policy,
    upkeep.replay,
    upkeep.backfill,
    labels.label,
    labels.label_clusters_with_gpt4v,
    review.compare,
    tags.save,
    tags.tags,
    tags.recommend,
    tag_edits.tag_group,
    tags.export,
    tags.import_tags,
    upkeep.retention,
    review.report,
    proof.verify,
    proof.explain,
    proof.bundle,
    upkeep.forget,
    serve.ui,
):
    main.add_command(_command)
# As FiftyOne's clustering plugin calls it.
main.add_command(clustering.run_info, "get_clustering_run_info")


if __name__ == "__main__":
    main()
