"""Registry: the YAML files in which people describe models, projections and runs; a file's path
is its key.

Belongs here: reading ``configs/models``, ``configs/projections`` and ``configs/runs``, which of
their fields are written, and the lists of images that acts leave in ``configs/selections``. Does
not belong here: validating what they ask for, which is the reader's part, and how YAML that people
wrote is changed (``resources.yaml_edits``).
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from resources.errors import InputError, message
from resources.project_folder import ProjectFolder, ProjectSettings, find, read_yaml, write_file
from resources.yaml_edits import edited_yaml

if TYPE_CHECKING:
    from resources.models import ModelSpec
    from resources.vectors_file import VectorsFile

_SELECTION_NAME = 12
"""Characters of the hash of a list of images that are its file's name."""


class Registry(BaseModel):
    """The ``configs`` folder of one project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        default="",
        description="The project's folder; empty: the one that $PANOPTIC_PROJECT names or the "
        "working directory lies in.",
    )

    @property
    def folder_path(self) -> Path:
        """The project's folder, where relative paths of the registry's files start."""
        return self._project.folder

    @property
    def settings(self) -> ProjectSettings:
        """What ``.panoptic/project.yaml`` says."""
        return self._project.settings

    @property
    def images(self) -> str:
        """Folder, or URL, of the images."""
        return self._project.images

    @property
    def metadata_file(self) -> Path | None:
        """The inventory; None where the project names none.

        Raises:
            InputError: It does not exist.
        """
        project = self._project
        if not project.settings.metadata:
            return None
        path = project.folder / project.settings.metadata
        if not path.is_file():
            raise InputError(
                "There is no inventory {path}: put the file back, or name another as `metadata` in "
                "{settings_file}. To empty that setting takes the values of the inventory away.",
                id="no-inventory",
                path=path,
                settings_file=project.settings_file,
            )
        return path

    @property
    def default_vector_type(self) -> str:
        """The vector type that the project's settings name."""
        return self._project.settings.vector_type

    def models(self) -> list[str]:
        """Keys of all vector types that have a file."""
        return sorted(path.stem for path in (self._project.configs / "models").glob("*.yaml"))

    def model(self, vector_type: str) -> "ModelSpec | VectorsFile":
        """What ``configs/models/<vector type>.yaml`` says.

        Raises:
            InputError: There is no such file, or it cannot be used.
        """
        from resources.models import ModelSpec
        from resources.vectors_file import VectorsFile

        path = self._project.configs / "models" / f"{vector_type}.yaml"
        if not path.is_file():
            raise InputError(
                "There is no vector type {vector_type!r}: write {path}, or choose one of {known}.",
                id="no-such-vector-type",
                vector_type=vector_type,
                path=path,
                known=", ".join(self.models()) or "(none)",
            )
        with read_yaml(path) as content:
            kind = VectorsFile if "vectors" in content else ModelSpec
            return kind.model_validate(content)

    def write_vectors_file(self, vector_type: str, file: "VectorsFile") -> None:
        """Make imported vectors a vector type, or name the file in which they now are.

        Raises:
            InputError: The key is that of other vectors, or its file cannot be changed.
        """
        from resources.vectors_file import VectorsFile

        path = self._project.configs / "models" / f"{vector_type}.yaml"
        if path.is_file():
            existing = self.model(vector_type)
            if not isinstance(existing, VectorsFile) or existing.model != file.model:
                raise InputError(
                    "{path} describes other vectors (model: {model}): choose a new key.",
                    id="config-describes-other-vectors",
                    path=path,
                    model=existing.model,
                )
            asked, known = file.model_dump(), existing.model_dump()
            content = edited_yaml(
                path, {(name,): value for name, value in asked.items() if known[name] != value}
            )
        else:
            content = _dumped(file.model_dump(exclude_none=True))
        write_file(path, content)

    def run(self, clustering: str) -> dict[str, Any] | None:
        """The Dagster run config in ``configs/runs/<key>.yaml``; None without such a file.

        Raises:
            InputError: The file is not a YAML mapping.
        """
        return self._document("runs", clustering)

    def policy(self, key: str) -> Any:
        """What ``configs/runs/<key>.yaml`` says under ``refresh``; ``keep`` if it says nothing.

        Raises:
            InputError: The file is not a YAML mapping.
        """
        document = self.run(key)
        return "keep" if document is None else document.get("refresh", "keep")

    def run_file(self, key: str) -> Path:
        """Where the file of a run, or of a divided node, is or would be."""
        return self._project.configs / "runs" / f"{key}.yaml"

    def run_text(self, key: str) -> str | None:
        """What is written in that file; None without it.

        Raises:
            InputError: It is no text in UTF-8.
        """
        path = self.run_file(key)
        if not path.is_file():
            return None
        with read_yaml(path):
            return path.read_bytes().decode()

    def run_bytes(self, key: str) -> bytes | None:
        """The same as bytes, whatever they are."""
        try:
            return self.run_file(key).read_bytes()
        except FileNotFoundError:
            return None

    def with_policy(self, key: str, policy: Any, otherwise: dict[str, Any]) -> str:
        """What ``configs/runs/<key>.yaml`` becomes with another refresh policy; it is not written.

        The rest of the file says the same, comments included (``resources.yaml_edits``).

        Args:
            key: The run.
            policy: Its policy, as YAML holds it.
            otherwise: What else the file gets, if there is none yet.

        Raises:
            InputError: The file is no YAML mapping that can be changed.
        """
        path = self.run_file(key)
        if path.is_file():
            return edited_yaml(path, {("refresh",): policy}, flow=True).decode()
        return _dumped({"refresh": policy} | otherwise).decode()

    def set_policy(self, key: str, policy: Any, otherwise: dict[str, Any]) -> Path:
        """Write a refresh policy into ``configs/runs/<key>.yaml``, and return where that is.

        Args:
            key: The run.
            policy: Its policy, as YAML holds it.
            otherwise: What else the file gets, if there is none yet.

        Raises:
            InputError: The file is no YAML mapping that can be changed.
        """
        return self.write_run(key, self.with_policy(key, policy, otherwise))

    def write_run(self, key: str, text: str | None) -> Path:
        """Write ``configs/runs/<key>.yaml``, or delete it; returns where it is, or was."""
        path = self.run_file(key)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            write_file(path, text.encode())
        return path

    def sweeps(self) -> list[str]:
        """Keys of all sweeps that have a file."""
        return sorted(path.stem for path in (self._project.configs / "sweeps").glob("*.yaml"))

    def sweep(self, key: str) -> dict[str, Any]:
        """What ``configs/sweeps/<key>.yaml`` says.

        Raises:
            InputError: There is no such file, or it is not a YAML mapping.
        """
        content = self._document("sweeps", key)
        if content is None:
            raise InputError(
                "There is no sweep {key!r}: write configs/sweeps/{key}.yaml in the project's "
                "folder, or describe it by options such as `--method kmeans --grid "
                "nb_clusters=5,10,20`. Existing ones: {known}.",
                id="no-such-sweep",
                key=key,
                known=", ".join(self.sweeps()) or message("none yet", id="none-yet"),
            )
        return content

    def write_sweep(self, key: str, document: dict[str, Any]) -> None:
        """Keep a sweep that was described on the command line.

        Raises:
            InputError: The key is that of another sweep.
        """
        path = self._project.configs / "sweeps" / f"{key}.yaml"
        if not path.is_file():
            write_file(path, _dumped(document))
        elif self.sweep(key) != document:
            raise InputError(
                "{path} describes another sweep: choose a new key.",
                id="config-describes-other-sweep",
                path=path,
            )

    def projections(self) -> list[str]:
        """Keys of all projections that have a file, ``<vector type>/<name>``."""
        folder = self._project.configs / "projections"
        return sorted(
            path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.yaml")
        )

    def projection(self, key: str) -> dict[str, Any] | None:
        """The Dagster run config in ``configs/projections/<key>.yaml``; None without such a file.

        Raises:
            InputError: The file is not a YAML mapping.
        """
        return self._document("projections", key)

    def write_selection(self, image_ids: Iterable[str]) -> str:
        """Write a list of images, one id a line, for the scope `ids` or the field `without`.

        Its name is the beginning of its hash: the same images are the same file, which nothing
        that was computed from it will find with others in it.

        Args:
            image_ids: Whole ids, in any order.

        Returns:
            The file's path, from the project's folder on.
        """
        path, content = self._selection(image_ids)
        self._write(path, content)
        return path.relative_to(self.folder_path).as_posix()

    def unwritten(self, name: str) -> bytes | None:
        """The content of a list that stays in memory; None: it is a file."""
        return None

    def _selection(self, image_ids: Iterable[str]) -> tuple[Path, bytes]:
        content = "".join(f"{image_id}\n" for image_id in sorted(set(image_ids))).encode()
        name = hashlib.sha256(content).hexdigest()[:_SELECTION_NAME]
        return self._project.configs / "selections" / f"{name}.txt", content

    def _write(self, path: Path, content: bytes) -> None:
        if not path.is_file() or path.read_bytes() != content:
            write_file(path, content)

    @property
    def _project(self) -> ProjectFolder:
        return find(Path(self.folder) if self.folder else None)

    def _document(self, folder: str, key: str) -> dict[str, Any] | None:
        path = self._project.configs / folder / f"{key}.yaml"
        if not path.is_file():
            return None
        with read_yaml(path) as content:
            return content


class DraftRegistry(Registry):
    """The registry of what is only checked: the lists of images that it is given stay in memory."""

    _lists: dict[str, bytes] = PrivateAttr(default_factory=dict)

    def write_selection(self, image_ids: Iterable[str]) -> str:
        """The path that the list of images would have as a file."""
        path, content = self._selection(image_ids)
        name = path.relative_to(self.folder_path).as_posix()
        self._lists[name] = content
        return name

    def unwritten(self, name: str) -> bytes | None:
        """The content of a list that stays in memory; None: it is a file."""
        return self._lists.get(name)

    def write_all(self) -> None:
        """Write the lists, for another process that has to read them."""
        for name, content in self._lists.items():
            self._write(self.folder_path / name, content)


def _dumped(document: dict[str, Any]) -> bytes:
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode()
