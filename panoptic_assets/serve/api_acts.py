"""What can be done over the API: each act, what must be said for it, and how a project does it.

Belongs here: the bodies of requests, and the call of :class:`~panoptic_assets.project.Project` that
each of them is. Does not belong here: HTTP (``serve.api``), threads and events
(``serve.ongoing``), and what acts do, which their rooms say.

Left out are what needs everything else closed (``forget``), and what writes files where the caller
says: exports and bundles are downloads (``serve.downloads``).

Long because it is one table, of whose rows each is a class and a call.
"""

import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from panoptic_assets.clustering.config import ClusteringConfig, NestedClusteringConfig
from panoptic_assets.features.config import ProjectionConfig
from panoptic_assets.labels.config import LabelsConfig
from panoptic_assets.review.config import ComparisonConfig, ReportConfig
from panoptic_assets.serve.api_reads import tag_alone
from panoptic_assets.spec.fields import OneLine, Parameters
from panoptic_assets.spec.resolution import Document
from panoptic_assets.tags.config import RecommendationsConfig, SaveConfig
from resources.errors import InputError, Message
from resources.field_faults import explain_invalid
from resources.report_folder import MOUNT

if TYPE_CHECKING:
    from panoptic_assets.project import Project

AskedT = TypeVar("AskedT", bound=Parameters)

SMALL = 2**20
"""Bytes of a body: 10,000 images by id are 0.7 MB."""
LARGE = 50 * 2**20
"""Bytes of a body that holds a file of tags."""

_REASON = "Why; it is kept with the act."


class PlainAct(Parameters):
    """An act that needs nothing more."""

    seen: dict[str, str | None] = Field(
        default_factory=dict,
        max_length=2000,
        description="Of what was shown, `seen` as it was read: refused if that has changed.",
    )


class ConfiguredAct(PlainAct):
    """An act with a configuration."""

    config: dict[str, Any] = Field(
        default_factory=dict,
        description="What is not given is the record's, the registry file's or the default.",
    )


class KeyedAct(ConfiguredAct):
    """An act on a run."""

    key: str = Field(description="The run's key.")


class ProjectionAct(ConfiguredAct):
    """Computing a projection."""

    key: str = Field(description="Its vector type and its name, such as `mini/umap`.")


class ClusterAct(KeyedAct):
    """Clustering the images of a scope, or some that are named."""

    images: list[str] | None = Field(
        default=None,
        min_length=1,
        description="In place of a scope these images, by id or path: their list is kept in a file "
        "of `configs/selections`, which becomes the scope.",
    )
    without: list[str] = Field(
        default_factory=list,
        description="Images of the scope that are left out, by id or path: their list is kept in "
        "such a file, which becomes `without` of the configuration.",
    )


class NodeAct(ConfiguredAct):
    """An act on a cluster."""

    node: str = Field(description="The cluster, such as `greek/3`.")


class RefreshAct(PlainAct):
    """Reading what is new in the images' folder."""

    vector_types: list[str] = Field(
        default_factory=list, max_length=100, description="Empty: the project's."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=4096, description="Images in one pass of the model."
    )
    accept_missing: bool = Field(
        default=False,
        description="Whether it is meant that so much is gone at once: files, or values of the "
        "inventory.",
    )
    accepted: str = Field(
        default="",
        max_length=64,
        description="The same of one question alone: its `answer`, as the status gives it. Where "
        "by now something else is gone, that is asked.",
    )
    reread: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Patterns of files to read again though nothing about them has changed.",
    )


class SweepAct(PlainAct):
    """Computing the runs of a sweep."""

    key: str = Field(description="The sweep's key: a file of `configs/sweeps`.")
    sweep: dict[str, Any] | None = Field(
        default=None,
        description="What the sweep is, as such a file has it, which is then written: "
        "`{methods: [{kmeans: {nb_clusters: [5, 10]}}]}`. By default the file is read.",
    )


class NameAct(PlainAct):
    """Naming a cluster by hand."""

    node: str = Field(description="The cluster, such as `greek/3` or `greek/remainder`.")
    name: str = Field(description="Its name, on one line; empty: it has none any more.")


class SaveAct(KeyedAct):
    """Saving a run as tags."""

    reason: OneLine = Field(default="", description=_REASON)


class EditAct(PlainAct):
    """Changing tags."""

    edits: list[dict[str, dict[str, Any]]] = Field(
        min_length=1,
        description="Edits, such as `{rename: {tag: '3', to: 'Vases grecs'}}`: all are done, in "
        "this order, or none.",
    )
    reason: OneLine = Field(default="", description=_REASON)


class ImagesAct(PlainAct):
    """An act on images: those that are named, or those that a scope takes when it is done."""

    images: list[str] | None = Field(default=None, min_length=1, description="By id or path.")
    scope: dict[str, Any] | None = Field(
        default=None,
        min_length=1,
        description="In place of images: a scope as the configuration of `cluster` has it, such "
        "as `{node: {node: greek/3}}`; `{corpus: {}}` for all.",
    )
    without: list[str] = Field(
        default_factory=list, description="Images of the scope that are left out, by id or path."
    )
    vector_type: str | None = Field(
        default=None, description="The vectors that a search compares; empty: the project's."
    )

    @property
    def chosen(self) -> dict[str, Any]:
        """The same, as arguments of :meth:`Project.tag`."""
        names = ("images", "scope", "without", "vector_type")
        return {name: getattr(self, name) for name in names}


class TagAct(ImagesAct):
    """Giving images a tag."""

    tag: str = Field(description="Its path, such as `animals > birds`; it is made if missing.")
    property: str | None = Field(default=None, description="`Clustering` by default.")
    reason: OneLine = Field(default="", description=_REASON)


class UntagAct(ImagesAct):
    """Taking a tag from images."""

    tag: str = Field(description="Its path or id; images that do not carry it stay as they are.")
    property: str | None = Field(default=None, description="`Clustering` by default.")
    reason: OneLine = Field(default="", description=_REASON)


class MoveTagAct(UntagAct):
    """Giving images another tag in place of one."""

    to: str = Field(description="The path or id of the other tag; it is made if missing.")


class ImportTagsAct(PlainAct):
    """Giving images the tags of a file."""

    content: str = Field(description="The file's text.")
    format: Literal["csv", "json"] = Field(default="csv", description="Which of the two it is.")
    property: str | None = Field(default=None, description="Only this property of the file.")
    mode: Literal["add", "replace", "keep"] = Field(
        default="add", description="What becomes of the tags that the images have."
    )
    check: bool = Field(default=False, description="Only say what would happen.")
    reason: OneLine = Field(default="", description=_REASON)


class ImportPanopticAct(PlainAct):
    """Taking the tags, values and vectors of a project of Panoptic."""

    folder: str = Field(description="Its folder, a copy of it below the project's folder.")
    properties: list[str] = Field(
        default_factory=list, description="Names of the properties to take; empty: all."
    )
    mode: Literal["add", "replace", "keep"] = Field(
        default="add", description="What becomes of the tags that the images have."
    )
    vectors: str | None = Field(
        default=None,
        description="The vector type that its vectors become, or that and Panoptic's number of "
        "one kind of them: key=number.",
    )
    replace: bool = Field(
        default=False, description="Allow to replace the files of an earlier import."
    )
    check: bool = Field(default=False, description="Only say what would happen.")
    reason: OneLine = Field(default="", description=_REASON)


class ImportFiftyOneAct(PlainAct):
    """Taking the tags, values and vectors of a FiftyOneDataset."""

    folder: str = Field(description="Its folder, a copy of it below the project's folder.")
    properties: list[str] = Field(
        default_factory=list, description="Names of the properties to take; empty: all."
    )
    mode: Literal["add", "replace", "keep"] = Field(
        default="add", description="What becomes of the tags that the images have."
    )
    vectors: dict[str, str] = Field(
        default_factory=dict, description="For each vector type to make, the field of its vectors."
    )
    model: str | None = Field(
        default=None, description="What made the vectors, in words; by default the field's name."
    )
    replace: bool = Field(
        default=False, description="Allow to replace the files of an earlier import."
    )
    check: bool = Field(default=False, description="Only say what would happen.")
    reason: OneLine = Field(default="", description=_REASON)


class BackfillAct(PlainAct):
    """Applying refresh policies."""

    runs: list[str] = Field(default_factory=list, description="Run keys; empty: all.")
    policy: Literal["keep", "assign", "recluster", "replay"] | None = Field(
        default=None, description="For these runs, whatever their own policy is."
    )


class PolicyAct(PlainAct):
    """Choosing what happens to a run when its corpus changes."""

    key: str = Field(description="The run.")
    policy: str | dict[str, dict[str, Any]] = Field(
        description="`keep`, `assign` or `recluster`, or `{assign: {most_novel: 0.1}}`."
    )
    reason: OneLine = Field(default="", description=_REASON)


class LeaveOutAct(PlainAct):
    """Clustering a run again without some of its images."""

    key: str = Field(description="The run.")
    images: list[str] = Field(min_length=1, description="By id or path.")


class RemarkAct(PlainAct):
    """Writing a remark, or taking one away."""

    subject: str = Field(
        max_length=4200,
        description="An image by id or path, a run (`greek`), a cluster (`greek/3`), or a tag "
        "(`tag:Clustering:animals > birds`, or `tag:` and its id).",
    )
    text: str = Field(
        description="One line or a few, of 2,000 characters at most; empty: the remark that is "
        "there is taken away."
    )
    reason: OneLine = Field(default="", description=_REASON)


class UndoAct(PlainAct):
    """Undoing an act, or doing it again."""

    act: OneLine | None = Field(
        default=None, description="Its id, as `history` has it; by default the last one."
    )
    reason: OneLine = Field(default="", description=_REASON)


class RemoveAct(PlainAct):
    """Removing a run or a divided node."""

    key: str = Field(description="A run or a divided node; all below it goes, too.")
    with_tags: bool = Field(
        default=False, description="Whether the tags that were saved from it are deleted as well."
    )
    reason: OneLine = Field(default="", description=_REASON)


class ReconcileAct(PlainAct):
    """Letting the store and Dagster know of the same things."""

    follow: Literal["store", "dagster"] = Field(
        default="store", description="Which of the two is right."
    )


class VerifyAct(PlainAct):
    """Computing runs again, to compare."""

    keys: list[str] = Field(default_factory=list, description="Runs and nodes; empty: all.")
    pixels: bool = Field(default=True, description="Whether the images' files are read.")


class ImportVectorsAct(PlainAct):
    """Another program's vectors."""

    key: str = Field(description="The vector type that they become.")
    vectors: str = Field(
        description="A .parquet or .npy file, or a samples.json of FiftyOne, below the project's "
        "folder."
    )
    model: str = Field(description="What made the vectors, in words.")
    ids: str | None = Field(
        default=None, description="With a .npy: file with the id or path of each row's image."
    )
    field: str | None = Field(
        default=None, description="The column or field that holds the vectors."
    )


@dataclass(frozen=True)
class ActAddress:
    """An act that can be asked for."""

    name: str
    """The last part of its address."""
    summary: str
    """What it does: a sentence."""
    asked: type[PlainAct]
    """What must be said for it."""
    do: Callable[["Project", Any], Any]
    """Has it done, and gives its result."""
    config: type[Parameters] | None = None
    """The class of its configuration, if it has one."""
    not_asked: tuple[str, ...] = ()
    """Fields of that which are not the caller's to say, or have another place in the body."""
    longest: int = SMALL
    """Bytes of the body, at most."""
    takes_long: bool = False
    """Whether it usually takes minutes, in a process of its own."""
    check: Callable[["Project", Any], dict[str, Any]] | None = None
    """Tells what it would do; None of an act that is not prepared."""

    def read(self, given: dict[str, Any]) -> PlainAct:
        """What was said for it.

        Raises:
            InputError: It is incomplete, or has fields that nobody knows.
        """
        body = as_asked(self.asked, given)
        if self.config is not None and isinstance(body, ConfiguredAct):
            self._check(body.config)
        return body

    def _check(self, given: Document) -> None:
        """Refuse a configuration of unknown names, or of values of the wrong types.

        The rest is its room's to refuse, which knows the record and the registry file as well. It
        takes "5" for a number, which Dagster's own check would then not.
        """
        assert self.config is not None  # noqa: S101
        known = [name for name in self.config.model_fields if name not in self.not_asked]
        if unknown := [name for name in given if name not in known]:
            raise InputError(
                "There is no field {unknown} in this configuration. Known here: {known}.",
                id="no-such-configuration-field",
                unknown=", ".join(repr(name[:80]) for name in unknown[:5]),
                known=", ".join(known),
            )
        whole = dict(given)
        if isinstance(whole.get("method"), str):
            whole["method"] = {whole["method"]: {}}
        try:
            self.config.model_validate_json(json.dumps(whole), strict=True)
        except ValidationError as error:
            if any(problem["type"].endswith("_type") for problem in error.errors()):
                raise _unusable(error) from error


def as_asked(kind: type[AskedT], given: dict[str, Any]) -> AskedT:
    """What was asked for, as its class.

    Raises:
        InputError: It is incomplete, has fields that nobody knows, or values out of their limits.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _unusable(error) from error


def field_of(error: Exception) -> str:
    """The field whose value a refusal is about, as ``method.kmeans.nb_clusters``.

    It is one of the body, or of its configuration; empty where the refusal is about none.
    """
    if not isinstance(error.__cause__, ValidationError):
        return ""
    place = error.__cause__.errors()[0]["loc"]
    named = itertools.takewhile(lambda part: isinstance(part, str) and part.isidentifier(), place)
    return ".".join(map(str, named))


def _unusable(error: ValidationError) -> InputError:
    return InputError(
        "The request cannot be used: {problems}",
        id="request-unusable",
        problems=explain_invalid(error),
    )


def _refresh(project: "Project", asked: RefreshAct) -> Any:
    return project.refresh(
        *asked.vector_types,
        batch_size=asked.batch_size,
        accept_missing=asked.accept_missing,
        accepted=asked.accepted,
        reread=asked.reread,
    )


def _sweep(project: "Project", asked: SweepAct) -> Any:
    if asked.sweep is not None:
        project.describe_sweep(asked.key, asked.sweep)
    return project.run_sweep(asked.key)


def _save(project: "Project", asked: SaveAct) -> Any:
    reason = {"reason": asked.reason} if asked.reason else {}
    return [tag_alone(tag) for tag in project.save(asked.key, **asked.config, **reason)]


def _edit(project: "Project", asked: EditAct) -> Any:
    return project.edit(asked.edits, reason=asked.reason)


def _tag(project: "Project", asked: TagAct) -> Any:
    return project.tag(asked.tag, property=asked.property, reason=asked.reason, **asked.chosen)


def _untag(project: "Project", asked: UntagAct) -> Any:
    return project.untag(asked.tag, property=asked.property, reason=asked.reason, **asked.chosen)


def _move_tag(project: "Project", asked: MoveTagAct) -> Any:
    return project.move_tag(
        asked.tag, asked.to, property=asked.property, reason=asked.reason, **asked.chosen
    )


def _check_tag(project: "Project", asked: TagAct) -> dict[str, Any]:
    edits = project.tagging("tag", asked.tag, property=asked.property, **asked.chosen)
    return project.check("tags", edits=edits)


def _check_untag(project: "Project", asked: UntagAct) -> dict[str, Any]:
    edits = project.tagging("untag", asked.tag, property=asked.property, **asked.chosen)
    return project.check("tags", edits=edits)


def _check_move_tag(project: "Project", asked: MoveTagAct) -> dict[str, Any]:
    edits = project.tagging("move", asked.tag, property=asked.property, to=asked.to, **asked.chosen)
    return project.check("tags", edits=edits)


def _cluster(project: "Project", asked: ClusterAct) -> Any:
    config = dict(asked.config)
    if asked.without:
        config["without"] = project.selection_file(asked.without)
    return project.cluster(asked.key, asked.images, **config)


def _check_cluster(project: "Project", asked: ClusterAct) -> dict[str, Any]:
    return project.check("clustering", asked.key, asked.images, asked.without, **asked.config)


def _import_tags(project: "Project", asked: ImportTagsAct) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"tags.{asked.format}"
        file.write_text(asked.content, encoding="utf-8", newline="")
        try:
            return project.import_tags(
                file, asked.property, asked.mode, asked.check, reason=asked.reason
            )
        except InputError as error:  # whoever sent the file knows nothing of that folder
            values = {
                name: file.name if value == str(file) else value
                for name, value in error.values.items()
            }
            said: Message = {**error.message, "values": values}
            raise InputError.restored(said, str(error).replace(str(file), file.name)) from error


def _page(project: "Project", page: Path) -> dict[str, str]:
    """Where a report that was written is served."""
    place = page.relative_to(project.layout.reports).as_posix()
    return {"address": f"{MOUNT}/{place}"}


def _policy(project: "Project", asked: PolicyAct) -> dict[str, Any]:
    file = project.set_policy(asked.key, asked.policy, reason=asked.reason)
    return {
        "file": file.relative_to(project.folder).as_posix(),
        "policy": project.policy(asked.key),
    }


def _import_vectors(project: "Project", asked: ImportVectorsAct) -> Any:
    for name in (asked.vectors, asked.ids):
        if name and not _lies_in(project.folder.resolve(), name):
            raise InputError(
                "{file!r} does not lie in the project's folder: copy it there, and name it from "
                "there.",
                id="vectors-outside-project",
                file=name[:200],
            )
    return project.import_vectors(asked.key, asked.vectors, asked.model, asked.ids, asked.field)


def _import_panoptic(project: "Project", asked: ImportPanopticAct) -> Any:
    return project.import_panoptic(
        _folder_below(project, asked.folder),
        asked.properties,
        asked.mode,
        asked.check,
        asked.vectors,
        asked.replace,
        reason=asked.reason,
    )


def _import_fiftyone(project: "Project", asked: ImportFiftyOneAct) -> Any:
    return project.import_fiftyone(
        _folder_below(project, asked.folder),
        asked.properties,
        asked.mode,
        asked.check,
        asked.vectors,
        asked.model,
        asked.replace,
        reason=asked.reason,
    )


def _folder_below(project: "Project", name: str) -> Path:
    """Where a folder lies that an act reads, which is nowhere but below the project's."""
    place = project.folder.resolve()
    if not _lies_in(place, name):
        raise InputError(
            "{folder!r} does not lie in the project's folder: copy it there, and name it from "
            "there.",
            id="folder-outside-project",
            folder=name[:200],
        )
    return place / Path(name).expanduser()


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a file lies in a folder, by a name as it is read: with links, and ``~`` for homes."""
    try:
        return (folder / Path(name).expanduser()).resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError):  # nobody's home, links in a circle, a NUL
        return False


ACT_ADDRESSES = {
    act.name: act
    for act in (
        ActAddress("refresh", "Read and embed what is new.", RefreshAct, _refresh, takes_long=True),
        ActAddress(
            "project",
            "Compute the points of a projection.",
            ProjectionAct,
            lambda project, asked: project.projection(asked.key, **asked.config),
            ProjectionConfig,
            takes_long=True,
            check=lambda project, asked: project.check("projection", asked.key, **asked.config),
        ),
        ActAddress(
            "cluster",
            "Divide the corpus, or a part of it, into clusters, as a run.",
            ClusterAct,
            _cluster,
            ClusteringConfig,
            check=_check_cluster,
        ),
        ActAddress(
            "divide",
            "Divide one cluster again.",
            NodeAct,
            lambda project, asked: project.divide(asked.node, **asked.config),
            NestedClusteringConfig,
            check=lambda project, asked: project.check(
                "nested_clustering", asked.node, **asked.config
            ),
        ),
        ActAddress(
            "sweep",
            "Compute those runs of a sweep that are not up to date.",
            SweepAct,
            _sweep,
            takes_long=True,
        ),
        ActAddress(
            "label",
            "Name the clusters of a run.",
            KeyedAct,
            lambda project, asked: project.label(asked.key, **asked.config),
            LabelsConfig,
            check=lambda project, asked: project.check("cluster_labels", asked.key, **asked.config),
        ),
        ActAddress(
            "name",
            "Name a cluster by hand.",
            NameAct,
            lambda project, asked: project.name(asked.node, asked.name),
        ),
        ActAddress(
            "save",
            "Save a run as tags.",
            SaveAct,
            _save,
            SaveConfig,
            ("author", "reason"),
            check=lambda project, asked: project.check(
                "saved_clustering", asked.key, **asked.config
            ),
        ),
        ActAddress(
            "edit",
            "Change tags.",
            EditAct,
            _edit,
            check=lambda project, asked: project.check("tags", edits=asked.edits),
        ),
        ActAddress("tag", "Give images a tag.", TagAct, _tag, check=_check_tag),
        ActAddress("untag", "Take a tag from images.", UntagAct, _untag, check=_check_untag),
        ActAddress(
            "move-tag",
            "Give images another tag in place of one.",
            MoveTagAct,
            _move_tag,
            check=_check_move_tag,
        ),
        ActAddress(
            "import-tags",
            "Give images the tags of a file.",
            ImportTagsAct,
            _import_tags,
            longest=LARGE,
        ),
        ActAddress(
            "import-panoptic",
            "Take the tags, values and vectors of a project of Panoptic.",
            ImportPanopticAct,
            _import_panoptic,
            takes_long=True,
        ),
        ActAddress(
            "import-fiftyone",
            "Take the tags, values and vectors of a FiftyOneDataset.",
            ImportFiftyOneAct,
            _import_fiftyone,
            takes_long=True,
        ),
        ActAddress(
            "recommend",
            "Compute which images could get which tags.",
            ConfiguredAct,
            lambda project, asked: project.recommend(**asked.config),
            RecommendationsConfig,
            takes_long=True,
            check=lambda project, asked: project.check("tag_recommendations", **asked.config),
        ),
        ActAddress(
            "report",
            "Write the report of a run.",
            KeyedAct,
            lambda project, asked: _page(project, project.report(asked.key, **asked.config)),
            ReportConfig,
            check=lambda project, asked: project.check(
                "clustering_report", asked.key, **asked.config
            ),
        ),
        ActAddress(
            "compare",
            "Write the pages that compare runs.",
            ConfiguredAct,
            lambda project, asked: _page(project, project.report_comparison(**asked.config)),
            ComparisonConfig,
            takes_long=True,
            check=lambda project, asked: project.check("run_comparison", **asked.config),
        ),
        ActAddress(
            "backfill",
            "Apply refresh policies.",
            BackfillAct,
            lambda project, asked: project.backfill(*asked.runs, policy=asked.policy),
            takes_long=True,
        ),
        ActAddress(
            "leave-out",
            "Cluster a run again without some of its images.",
            LeaveOutAct,
            lambda project, asked: project.leave_out(asked.key, asked.images),
        ),
        ActAddress(
            "remark",
            "Write a remark on an image, a run, a cluster or a tag.",
            RemarkAct,
            lambda project, asked: project.remark(asked.subject, asked.text, reason=asked.reason),
        ),
        ActAddress("policy", "Choose the refresh policy of a run.", PolicyAct, _policy),
        ActAddress(
            "undo",
            "Undo an act.",
            UndoAct,
            lambda project, asked: project.undo(asked.act, reason=asked.reason),
        ),
        ActAddress(
            "redo",
            "Do an act again that was undone.",
            UndoAct,
            lambda project, asked: project.redo(asked.act, reason=asked.reason),
        ),
        ActAddress(
            "remove",
            "Remove a run or a divided node, with all below it; it can be undone.",
            RemoveAct,
            lambda project, asked: project.remove(asked.key, asked.with_tags, reason=asked.reason),
        ),
        ActAddress(
            "reconcile",
            "Let the store and Dagster know of the same clusterings and labels.",
            ReconcileAct,
            lambda project, asked: project.reconcile(asked.follow),
            takes_long=True,
        ),
        ActAddress(
            "verify",
            "Compute runs again on what they read, and compare; changes nothing.",
            VerifyAct,
            lambda project, asked: project.verify_as_run(*asked.keys, pixels=asked.pixels),
            takes_long=True,
        ),
        ActAddress(
            "import-vectors",
            "Make another program's vectors a vector type.",
            ImportVectorsAct,
            _import_vectors,
            takes_long=True,
        ),
    )
}
"""By name."""
