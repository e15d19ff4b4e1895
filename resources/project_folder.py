"""Where the things of one project lie.

Belongs here: finding, reading and creating a project's folder. Does not belong here: what is in
the store (``lance``) or what the registry files mean (``panoptic_assets``).

A project is any folder with a ``.panoptic/project.yaml``, found from the working directory upwards
as git finds its repository. Everything that the program writes lies in ``.panoptic/``; ``configs/``
beside it is the people's.

Long because whatever people may write into a project.yaml is refused in its own words.
"""

import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError

from resources import ENVIRONMENT_VARIABLE
from resources.errors import InputError, newer_format
from resources.field_faults import explain_invalid

FORMAT = 1
"""Number of the form of ``project.yaml`` and of what lies beside it, the store apart; it is raised
when an older program would misunderstand it. A file without a number counts as 1."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""For each older format, what makes settings of the next one of settings of this one. It is done
whenever they are read: the file is people's, and stays as they wrote it."""

LEFTOVERS = [
    # Synology, QNAP, NetApp and others. In a pattern a bare "#" begins a comment.
    *("@eaDir/", "@tmp/", r"\#recycle/", r"\#snapshot/", "@Recycle/", "@Recently-Snapshot/"),
    *(".@__thumb/", "~snapshot/", "Network Trash Folder/"),
    # Windows writes its own with capitals or without.
    *("$RECYCLE.BIN/", "$Recycle.Bin/", "RECYCLER/", "RECYCLED/", "System Volume Information/"),
    *("Thumbs.db", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "Desktop.ini"),
    # Macs, and disks that were mended.
    *("__MACOSX/", "._*", ".DS_Store", ".Trashes/", "lost+found/", "FOUND.000/"),
]
"""What a new project's ``exclude_leftovers`` holds."""

_SETTINGS = Path(".panoptic") / "project.yaml"
_LONGEST_CORPUS = 100
_OWN_ADDRESSES = frozenset({"manual", "reports", "static", "who"})


class ProjectSettings(BaseModel, frozen=True, extra="forbid"):
    """What ``.panoptic/project.yaml`` holds."""

    format: int = Field(default_factory=lambda: FORMAT, ge=1)
    """Number of the form of this file: a version that knows lower ones only refuses it."""
    images: str = Field(min_length=1)
    """Folder or archive of the images, its fsspec URL, or a IIIF manifest's; a relative path
    starts at the project's folder."""
    include: list[str] = []
    """Patterns as in ``.gitignore``: only files that match one are images; none: all files."""
    exclude: list[str] = []
    """Patterns as in ``.gitignore`` of files and folders that are left out."""
    exclude_leftovers: list[str] = LEFTOVERS
    """Patterns of what network storages and systems leave in folders: thumbnails of their own,
    recycle bins, indexes. Left out, too."""
    pages: Literal["largest", "all"] = "largest"
    """Of a file that holds several pictures (TIFF, GIF, HEIC, MPO): only the largest page, or each
    page as an image of its own."""
    max_missing: float = Field(default=0.33, ge=0, le=1)
    """Share of the corpus, of a top folder, of a property's values, or of its tags, that may be
    gone at once; of more, a person is asked. At 1, only where all is gone."""
    few_missing: int = Field(default=5, ge=0)
    """So many files of a folder, or values of a property, may always be gone at once: nobody is
    asked, whatever share of all they are."""
    reread_share: float = Field(default=0.03, ge=0, le=1)
    """Share of the files whose bytes the schedule reads again each night, those first that were not
    read for the longest time: at 0.03 each file within five weeks."""
    images_options: dict[str, Any] = {}
    """Options of the images' fsspec filesystem, such as endpoint_url, never secrets; or of a IIIF
    manifest: size, pause, requests."""
    store: str = ".panoptic/store"
    """LanceDB folder or URI; a relative path starts at the project's folder."""
    storage_options: dict[str, str] = {}
    """LanceDB storage options of a store that is not a local folder, such as region or endpoint.
    Secrets belong in the environment, where LanceDB reads them itself."""
    vector_type: str = "mini"
    """The default vector type: a file of ``configs/models``."""
    max_quarantined: float = Field(default=0.05, ge=0, le=1)
    """Share of the files that may be in quarantine before the asset check warns."""
    max_unmatched: float = Field(default=0.1, ge=0, le=1)
    """Share of the inventory's lines that may name no file of the corpus, and of the cells of one
    of its columns that may be left out, before the asset checks warn."""
    metadata: str = ""
    """Table (CSV or a spreadsheet: .xlsx, .ods) whose columns become properties of images; a
    relative path starts at the project's folder. Empty: none."""

    @classmethod
    def of(cls, images: str, vector_type: str) -> Self:
        """Settings for a folder of images, or its URL.

        A relative path starts at the working directory.

        Raises:
            InputError: The folder's name cannot be written into a file, or the address is that of a
                manifest that cannot be used.
        """
        place = images if "://" in images else str(Path(images).absolute())
        if place.startswith(("http://", "https://", "iiif+")):
            from resources.iiif_folder import recognised

            place = recognised(place)
        if not _is_utf8(place):
            raise InputError(
                "The name of {place!r} is not valid UTF-8: rename the folder.",
                id="folder-name-not-utf8",
                place=place,
            )
        return cls(images=place, vector_type=vector_type)


@dataclass(frozen=True)
class ProjectFolder:
    """The paths of one project."""

    folder: Path
    settings: ProjectSettings

    @property
    def corpus(self) -> str:
        """The project's name in addresses: that of its folder, without accents, as a key.

        Never empty, nor one that addresses of the program's own begin with.
        """
        letters = unicodedata.normalize("NFKD", self.folder.name)
        bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
        key = re.sub(r"[^A-Za-z0-9_-]+", "-", bare).strip("-_")[:_LONGEST_CORPUS]
        return f"{key}-corpus" if key.lower() in _OWN_ADDRESSES else key or "corpus"

    @property
    def settings_file(self) -> Path:
        """Where the settings are written."""
        return self.folder / _SETTINGS

    @property
    def images(self) -> str:
        """Absolute path, or URL, of the folder that the corpus is read from."""
        return _located(self.folder, self.settings.images)

    @property
    def store(self) -> str:
        """Absolute path, or URI, of the LanceDB database."""
        return _located(self.folder, self.settings.store)

    @property
    def configs(self) -> Path:
        """Registry of models and runs, written by people."""
        return self.folder / "configs"

    @property
    def models(self) -> Path:
        """Where embedded models are built."""
        return self.folder / ".panoptic" / "models"

    @property
    def reports(self) -> Path:
        """Where the static pages are written."""
        return self.folder / ".panoptic" / "reports"

    @property
    def previews(self) -> Path:
        """Where pictures for the viewer are kept, that can be made again."""
        return self.folder / ".panoptic" / "previews"

    @property
    def downloads(self) -> Path:
        """Where answers of servers of IIIF are kept, and packed archives unpacked: all of it can
        be had again."""
        return self.folder / ".panoptic" / "downloads"

    @property
    def dagster_home(self) -> Path:
        """Folder of the project's Dagster instance."""
        return self.folder / ".panoptic" / "dagster"


def dagster_home(project: ProjectFolder) -> Path:
    """Folder of the Dagster instance to use: that of ``$DAGSTER_HOME``, else the project's own.

    The project's own ``dagster.yaml`` is written again if it was deleted; a folder of someone else
    is left as it is.

    Raises:
        InputError: Dagster would not read a ``dagster.yaml`` in ``$DAGSTER_HOME``, and so work with
            telemetry on and several writers at once.
    """
    given = os.environ.get("DAGSTER_HOME")
    if not given:
        _check_for_dagster(project.dagster_home)
        _write_dagster_yaml(project)
        return project.dagster_home
    home = Path(given)
    remedy = f"unset it to use the project's own, {project.dagster_home}"
    if not home.is_absolute():
        raise InputError(
            "DAGSTER_HOME is {given!r}, not an absolute path ('~' is not expanded here): write "
            "the path out, or {remedy}.",
            id="dagster-home-not-absolute",
            given=given,
            remedy=remedy,
        )
    _check_for_dagster(home)
    if not (home / "dagster.yaml").is_file():
        raise InputError(
            "DAGSTER_HOME is {home}, which has no dagster.yaml: Dagster would send usage "
            "statistics and let several runs write at once. Copy {dagster_yaml} there, or "
            "{remedy}.",
            id="dagster-home-without-settings",
            home=home,
            dagster_yaml=_dagster_yaml(project),
            remedy=remedy,
        )
    return home


def find(folder: Path | None = None) -> ProjectFolder:
    """Find the project of ``folder``, of ``$PANOPTIC_PROJECT`` or of the working directory.

    Only the working directory is searched upwards; a folder that was named must be the project's.

    Raises:
        InputError: There is no project, or its settings cannot be used.
    """
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    named = folder or (Path(given) if given else None)
    start = (named or Path.cwd()).absolute()
    candidates = [start] if named else [start, *start.parents]
    for candidate in candidates:
        if (candidate / _SETTINGS).is_file():
            return ProjectFolder(candidate, _read_settings(candidate / _SETTINGS))
    if given and start == Path(given).absolute():
        raise InputError(
            "There is no project in {folder}, which the environment variable {variable} names: "
            "run `panoptic-assets init FOLDER_OF_IMAGES` there, or `panoptic-assets demo` to see "
            "one.",
            id="no-project-in-named-folder",
            folder=start,
            variable=ENVIRONMENT_VARIABLE,
        )
    raise InputError(
        "There is no project in {folder}: run `panoptic-assets init FOLDER_OF_IMAGES` there, or "
        "`panoptic-assets demo` to see one.",
        id="no-project-in-folder",
        folder=start,
    )


def create(folder: Path, settings: ProjectSettings, runs: Collection[str] = ()) -> ProjectFolder:
    """Create a project, or open the one that is already there with the same settings.

    Writes ``.panoptic/``, with the Dagster instance's ``dagster.yaml``, and the shipped ``configs``
    that the folder lacks. Files of the user are never overwritten.

    Args:
        folder: The project's folder.
        settings: Its settings.
        runs: Keys of shipped runs that a new project gets. Of the others it has no file: each is a
            run to Dagster, where nobody has asked for it.

    Raises:
        InputError: The images' folder does not exist, or the project's folder holds another
            project, has a name that Dagster cannot use, cannot be written, or lies on a disk that
            LanceDB cannot use.
    """
    folder = folder.absolute()
    images = settings.images
    if "://" not in images and Path(images).is_relative_to(
        folder
    ):  # the folder can then be moved as a whole
        relative = Path(images).relative_to(folder).as_posix()
        settings = settings.model_copy(update={"images": relative})
    project = ProjectFolder(folder, settings)
    # Here, as commands that find a project need nothing of archives.
    from resources.archive_folder import is_archive

    if "://" not in images and not (
        (place := Path(project.images)).is_dir() or (is_archive(place) and place.is_file())
    ):
        raise InputError(
            "{images} is not a folder, nor a zip or tar archive: give the folder, or the archive, "
            "that holds the images.",
            id="images-not-a-folder",
            images=project.images,
        )
    _check_for_dagster(folder)
    path = project.folder / _SETTINGS
    if path.is_file():
        existing = ProjectFolder(project.folder, _read_settings(path))
        if (_resolved(existing.images), existing.settings.vector_type) != (
            _resolved(project.images),
            settings.vector_type,
        ):
            raise InputError(
                "{folder} already is a project of {images} with vector type {vector_type}: choose "
                "another folder, or edit {path}.",
                id="project-exists",
                folder=project.folder,
                images=existing.images,
                vector_type=existing.settings.vector_type,
                path=path,
            )
        return existing
    _check_for_lance(project)
    shipped = shipped_configs()
    if shipped != project.configs:
        for source in sorted(shipped.rglob("*.yaml")):
            path_inside = source.relative_to(shipped)
            if path_inside.parts[0] != "runs" or source.stem in runs:
                _copy_if_absent(source, project.configs / path_inside)
        (project.configs / "runs").mkdir(parents=True, exist_ok=True)  # where people's own go
    _write_dagster_yaml(project)
    # Last: a project that can be found is a whole one.
    # Programs from before there was a format read the first one, and refuse fields that they do not
    # know: it is written from the second one on.
    left_out = {"format"} if FORMAT == 1 else set()
    content = yaml.safe_dump(settings.model_dump(exclude=left_out), allow_unicode=True)
    write_file(path, content.encode())
    return project


@contextmanager
def read_yaml(path: Path) -> Iterator[dict[str, Any]]:
    """Read a YAML mapping and name the file in whatever its reader finds wrong with it.

    Raises:
        InputError: The file is not a YAML mapping, or a pydantic model refused it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "{path} cannot be read: {reason}.",
            id="file-unreadable",
            path=path,
            reason=error.strerror,
        ) from error
    except RecursionError as error:
        raise InputError("{path} is nested too deeply.", id="yaml-too-deep", path=path) from error
    # YAML's own types raise ValueError: 2024-13-01 is no date, an integer can have too many digits.
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            "{path} is not valid YAML: {reason}", id="yaml-invalid", path=path, reason=reason
        ) from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError(
            "{path} must hold `name: value` lines, not a {type}.",
            id="yaml-not-a-mapping",
            path=path,
            type=type(content).__name__,
        )
    try:
        yield content
    except ValidationError as error:
        raise InputError(
            "{path}: {problems}",
            id="yaml-fields-invalid",
            path=path,
            problems=explain_invalid(error),
        ) from error


def _located(folder: Path, place: str) -> str:
    return place if "://" in place else str(folder / place)


def _resolved(place: str) -> str:
    return place.rstrip("/") if "://" in place else str(Path(place).resolve())


def _read_settings(path: Path) -> ProjectSettings:
    with read_yaml(path) as content:
        number = content.get("format", 1)
        if type(number) is int and number >= 1:  # else it is refused as any other field is
            if number > FORMAT:  # before the fields that this version does not know
                raise newer_format(f"The project {path.parent.parent}", number, FORMAT)
            for older in range(number, FORMAT):
                content = MIGRATIONS[older](content)
            content = {**content, "format": FORMAT}
        return ProjectSettings.model_validate(content)


def shipped_configs() -> Path:
    """``configs`` of the checkout, or the copy that the wheel carries."""
    package = Path(__file__).parent.parent
    inside_wheel = package / "panoptic_assets" / "configs"
    return inside_wheel if inside_wheel.is_dir() else package / "configs"


def _check_for_dagster(folder: Path) -> None:
    if any(character in str(folder) for character in "[]*?"):
        # Dagster looks for dagster.yaml by a pattern: it would run without it, telemetry on.
        raise InputError(
            "Dagster cannot use {folder}: choose a folder without [, ], * and ?.",
            id="folder-not-for-dagster",
            folder=folder,
        )
    if not _is_utf8(folder):
        raise InputError(
            "Neither Dagster nor LanceDB can use {folder!r}, whose name is not valid UTF-8: "
            "rename the folder, or choose another one.",
            id="folder-name-not-for-dagster",
            folder=folder,
        )


def _check_for_lance(project: ProjectFolder) -> None:
    if "://" in project.store:
        return
    there = next(place for place in Path(project.store).parents if place.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".panoptic-", dir=there) as folder:
            file = Path(folder) / "file"
            file.touch()
            try:
                (Path(folder) / "link").hardlink_to(file)
            except OSError as error:
                raise InputError(
                    "LanceDB cannot use {folder}, whose disk has no hard links ({reason}), as FAT "
                    "and exFAT have none: choose a folder on another disk. The images may lie "
                    "there.",
                    id="disk-without-links",
                    folder=there,
                    reason=error.strerror,
                ) from error
    except OSError as error:
        raise InputError(
            "{folder} cannot become a project, as nothing can be written in {place} ({reason}): "
            "choose another folder, or make that one writable.",
            id="project-folder-not-writable",
            folder=project.folder,
            place=there,
            reason=error.strerror,
        ) from error


def _is_utf8(path: Path | str) -> bool:
    # Python keeps such bytes of a name as halves of characters, which UTF-8 cannot hold.
    return not any("\ud800" <= character <= "\udfff" for character in str(path))


def _dagster_yaml(project: ProjectFolder) -> Path:
    """The ``dagster.yaml`` to start from: the project's, else the shipped one."""
    name = "dagster.yaml"
    mine = project.configs / name
    return mine if mine.is_file() else shipped_configs() / name


def _write_dagster_yaml(project: ProjectFolder) -> None:
    _copy_if_absent(_dagster_yaml(project), project.dagster_home / "dagster.yaml")


def _copy_if_absent(source: Path, target: Path) -> None:
    if not target.exists():
        write_file(target, source.read_bytes())


def write_file(target: Path, content: bytes) -> None:
    """Write a file by rename, so that another process sees all of it or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    except OSError:  # such as a full disk, which must not keep what is half written
        draft.unlink(missing_ok=True)
        raise
