"""Registry: the YAML files in which people describe models, projections and runs; a file's path
is its key.

Belongs here: reading ``configs/models``, ``configs/projections`` and ``configs/runs``. Does not
belong here: validating what they ask for, which is the reader's part.
"""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from resources.errors import InputError
from resources.models import ModelSpec
from resources.project import ProjectFolder, find, read_yaml


class Registry(dg.ConfigurableResource):
    """The ``configs`` folder of one project."""

    folder: str = Field(
        default="",
        description="The project's folder; empty: the one that $PANOPTIC_PROJECT names or the "
        "working directory lies in.",
    )

    @property
    def default_vector_type(self) -> str:
        """The vector type that the project's settings name."""
        return self._project.settings.vector_type

    def models(self) -> list[str]:
        """Keys of all vector types that have a file."""
        return sorted(path.stem for path in (self._project.configs / "models").glob("*.yaml"))

    def model(self, vector_type: str) -> ModelSpec:
        """What ``configs/models/<vector type>.yaml`` says.

        Raises:
            InputError: There is no such file, or it cannot be used.
        """
        path = self._project.configs / "models" / f"{vector_type}.yaml"
        if not path.is_file():
            raise InputError(
                f"There is no vector type {vector_type!r}: write {path}, or choose one of "
                f"{', '.join(self.models()) or '(none)'}."
            )
        with read_yaml(path) as content:
            return ModelSpec.model_validate(content)

    def run(self, division: str) -> dict[str, Any] | None:
        """The Dagster run config in ``configs/runs/<key>.yaml``; None without such a file.

        Raises:
            InputError: The file is not a YAML mapping.
        """
        return self._document("runs", division)

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

    @property
    def _project(self) -> ProjectFolder:
        return find(Path(self.folder) if self.folder else None)

    def _document(self, folder: str, key: str) -> dict[str, Any] | None:
        path = self._project.configs / folder / f"{key}.yaml"
        if not path.is_file():
            return None
        with read_yaml(path) as content:
            return content
