"""What a refresh of 10,000 small files costs: all new, unchanged, 1 % new, a third moved.

Run it with ``python -m tests.benchmarks.refresh [FILES]``. The model is a tiny open_clip model with
random weights, so that the figures are those of the pipeline; the rival is the full refresh. Times
are of the assets `images` and `embeddings` with their checks, in a process that has its imports and
its model; ``command`` is the whole command ``panoptic-assets refresh`` on an unchanged corpus.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.table import Table

from panoptic_assets.definitions import build_defs
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project_folder import ProjectFolder, ProjectSettings, create
from resources.registry import Registry
from resources.source import ImageSource
from tests.tiny import write_images, write_model


class Refresh:
    """One project, refreshed in this process."""

    def __init__(self, project: ProjectFolder):
        folder = str(project.folder)
        self.job = build_defs(
            source=ImageSource(root=project.images),
            store=LanceStore(uri=project.store),
            models=OpenClipModels(folder=folder),
            registry=Registry(folder=folder),
        ).resolve_implicit_global_asset_job_def()
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("vector_types", ["tiny"])

    def run(self) -> tuple[float, float, dict[str, float]]:
        """Wall and CPU seconds, and what was done."""
        wall, cpu = time.perf_counter(), time.process_time()
        done: dict[str, float] = {}
        for asset, partition in (("images", None), ("embeddings", "tiny")):
            result = self.job.execute_in_process(
                instance=self.instance,
                asset_selection=[dg.AssetKey(asset)],
                partition_key=partition,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            [event] = result.asset_materializations_for_node(asset)
            done |= {
                name: value.value
                for name, value in event.metadata.items()
                if name in ("nb_files_read", "nb_moved", "nb_embedded_now")
            }
        return time.perf_counter() - wall, time.process_time() - cpu, done


def main(count: int) -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp())
    images = folder / "images"
    grid = Table("refresh", "files", "read", "moved", "embedded", "wall s", "CPU s", "of full")
    try:
        write_model(folder / "models" / "tiny")
        write_images(images, count)
        project = create(
            folder / "project", ProjectSettings(images=str(images), vector_type="tiny")
        )
        (project.configs / "models" / "tiny.yaml").write_text(
            f"model: local-dir:{folder / 'models' / 'tiny'}\n"
        )
        models = OpenClipModels(folder=str(project.folder))
        models.load(Registry(folder=str(project.folder)).model("tiny")).encode_images([])
        refresh = Refresh(project)
        steps = [("full", lambda: None)]
        steps += [("unchanged", lambda: None)] * 3
        for step in range(3):
            steps.append(
                (
                    "1 % new",
                    lambda step=step: write_images(images, count // 100, count + step * 10_000),
                )
            )
        steps.append(("a third moved", lambda: move(images, count // 3)))
        full = 0.0
        for name, prepare in steps:
            prepare()
            wall, cpu, done = refresh.run()
            full = full or wall
            grid.add_row(
                name,
                f"{count:,}",
                *(f"{done[key]:,.0f}" for key in ("nb_files_read", "nb_moved", "nb_embedded_now")),
                f"{wall:.2f}",
                f"{cpu:.2f}",
                f"{wall / full:.1%}",
            )
        wall = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "panoptic_assets.cli.main",
                "--project",
                project.folder,
                "refresh",
            ],
            check=True,
            capture_output=True,
            env=os.environ | {"DAGSTER_HOME": ""},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        wall = time.perf_counter() - wall
        grid.add_row(
            "unchanged, command", f"{count:,}", "", "", "", f"{wall:.2f}", f"{cpu:.2f}", ""
        )
        Console().print(grid)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"Peak memory of the process: {peak:,.0f} MiB")
    finally:
        shutil.rmtree(folder)


def move(images: Path, count: int) -> None:
    """Rename files into a new folder."""
    target = images / "moved"
    target.mkdir()
    for path in sorted(images.rglob("*.jpg"))[:count]:
        path.rename(target / f"{path.parent.name}-{path.name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
