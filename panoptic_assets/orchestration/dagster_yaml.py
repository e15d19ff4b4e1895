"""The settings of a Dagster instance, and bringing older ones up to date.

Belongs here: what a ``dagster.yaml`` lacks that the shipped one says. Does not belong here: where
it lies and how it is first written (``resources.project_folder``).
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panoptic_assets.orchestration import insides
from resources.errors import InputError
from resources.project_folder import ProjectFolder, read_yaml, shipped_configs, write_file
from resources.yaml_edits import edited_yaml

_LIMITS_OF_A_QUEUE = (
    "max_concurrent_runs",
    "tag_concurrency_limits",
    "block_op_concurrency_limited_runs",
)
"""Fields of ``run_queue`` that Dagster refuses beside ``concurrency``'s ``runs`` and ``pools``."""


def lacking_settings(home: Path) -> list[str]:
    """What a Dagster instance's ``dagster.yaml`` does not say, and the shipped one does.

    Args:
        home: The instance's folder.

    Returns:
        Names with dots, such as ``run_retries``; an empty list where nothing is missing.

    Raises:
        InputError: The file cannot be read.
    """
    return [".".join(place) for place, _ in _lacking(home / "dagster.yaml")]


def update_settings(project: ProjectFolder) -> dict[Path, list[str]]:
    """Add to a project's ``dagster.yaml`` what the shipped one has since; nothing else is changed.

    So to the instance's own and to the people's copy in ``configs``.

    Returns:
        For each file that was changed, the settings that it got.

    Raises:
        InputError: A file is no YAML to which something can be added, or Dagster would refuse what
            comes of it. No file was changed.
    """
    added, written = {}, {}
    for path in (project.dagster_home / "dagster.yaml", project.configs / "dagster.yaml"):
        if path.is_file() and (lacking := _lacking(path)):
            written[path] = _with_settings(path, lacking)
            _check_by_dagster(path, written[path])
            added[path] = [".".join(place) for place, _ in lacking]
    for path, content in written.items():
        write_file(path, content)
    return added


_Lacking = list[tuple[tuple[str, ...], Any]]
"""Settings by the names that lead to them."""


def _lacking(path: Path) -> _Lacking:
    shipped_path = shipped_configs() / "dagster.yaml"
    with read_yaml(path) as mine, read_yaml(shipped_path) as shipped:
        pass
    shipped = _compatible(shipped, mine)
    found: _Lacking = []
    pending: list[tuple[tuple[str, ...], Any, Any]] = [((), mine, shipped)]
    while pending:
        place, own, other = pending.pop(0)
        for name, value in other.items():
            if name not in own:
                found.append(((*place, name), value))
            elif isinstance(own[name], dict) and isinstance(value, dict):
                pending.append(((*place, name), own[name], value))
    return found


def _compatible(shipped: dict[str, Any], mine: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped settings without those that a queue of the people's own takes the place of."""
    queues = [mine[name] for name in ("run_queue", "run_coordinator") if name in mine]
    if not queues:
        return shipped
    fields = [queue for queue in queues if isinstance(queue, dict)]
    fields += [queue["config"] for queue in fields if isinstance(queue.get("config"), dict)]
    left_out = {"runs"}
    if any(name in queue for name in _LIMITS_OF_A_QUEUE for queue in fields):
        left_out.add("pools")  # Dagster refuses these beside them, too
    kept = {name: value for name, value in shipped["concurrency"].items() if name not in left_out}
    left = ("concurrency", "run_queue")
    others = {name: value for name, value in shipped.items() if name not in left}
    return {**others, "concurrency": kept} if kept else others


def _check_by_dagster(path: Path, content: bytes) -> None:
    """Check what shall become of a ``dagster.yaml``, before it does; no storage is opened.

    Raises:
        InputError: Dagster would not start with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_bytes(content)
        try:
            insides.check_settings(Path(folder))
        except Exception as error:  # beside its own, whatever its checks stumble over
            reason = " ".join(str(error).split()).rstrip(".")
            raise InputError(
                "Nothing was added to {path}, which Dagster would then refuse: {reason}. Correct "
                "the file, then run `panoptic-assets init --update` again.",
                id="dagster-yaml-refused",
                path=path,
                reason=reason,
            ) from error


def _with_settings(path: Path, lacking: _Lacking) -> bytes:
    """A ``dagster.yaml`` with more settings, each with its reason, as in the shipped one."""
    shipped = (shipped_configs() / "dagster.yaml").read_text(encoding="utf-8")
    reasons = {}
    for place, _ in lacking:
        if found := re.search(rf"((?:^#.*\n)+){re.escape(place[-1])}:", shipped, re.MULTILINE):
            text = re.sub(r"^# ?", "", found[1], flags=re.MULTILINE)
            reasons[place] = f"\n{text.rstrip()}"
    return edited_yaml(path, dict(lacking), reasons)
