"""UMAP of 5,000 vectors: fed by the stored neighbour graph, against umap-learn's default.

    python -m tests.benchmarks.projections [rounds]

Each measurement is a process of its own, as a Dagster step may be, from its start (imports and
compilation counted) to its points; the ways take turns, each round has its own seed, and medians
are shown. The vectors are unit vectors of 512 numbers in 40 groups, each on a curved sheet of 12
dimensions with noise around it: uniform noise would have no neighbourhoods to keep. Kept is the
share of the 15 nearest neighbours by cosine that are among the 15 nearest points. The graph of
`neighbors`, which is computed once for many uses, is measured apart, in this process.

Two cores of an AMD EPYC with AVX-512, busy with other work, umap-learn 0.5.12, medians of 3 rounds:

    ours, from the graph    11.0 CPU s  kept .306
    umap-learn              34.8 CPU s  kept .311  3.2x
    umap-learn, seeded      33.5 CPU s  kept .312  3.0x

What is kept differs more between seeds than between ways: with seeds 0 to 3 ours kept .305, .306,
.319 and .312 (mean .3105), umap-learn with seeds 0 to 2 .310, .312 and .312 (mean .3114). Of our 11
seconds 6 are importing and compiling umap-learn and 5 the layout, which is the same in all ways;
umap-learn's own search for neighbours compiles for another 24. The graph takes 0.7 CPU s.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NB_IMAGES = 5_000
NB_DIMENSIONS = 512
NB_GROUPS = 40
INTRINSIC = 12
KEPT = 15

OURS = """
from panoptic_assets.features.config import Umap
from panoptic_assets.features.neighbors import Graph
from panoptic_assets.features.projections import project
graph = Graph(np.load(folder / "indices.npy"), np.load(folder / "similarities.npy"))
parameters = Umap().model_dump()
parameters.pop("name")
points = project("umap", vectors, 2, seed, graph, parameters).points
"""
DEFAULT = """
from umap import UMAP
points = UMAP(metric="cosine").fit_transform(vectors)
"""
SEEDED = """
from umap import UMAP
points = UMAP(metric="cosine", random_state=seed).fit_transform(vectors)
"""
PROCESS = """
import sys, time, warnings
from pathlib import Path
import numpy as np
warnings.simplefilter("ignore")
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
vectors = np.load(folder / "vectors.npy")
{work}
np.save(folder / "points.npy", points)
print(time.process_time())
"""


def sheets(seed: int = 0) -> np.ndarray:
    """(5000, 512) float32 unit vectors: groups of a dozen intrinsic dimensions, curved."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, NB_GROUPS, NB_IMAGES)
    centres = rng.normal(size=(NB_GROUPS, NB_DIMENSIONS))
    directions = 0.24 * rng.normal(size=(NB_GROUPS, 2 * INTRINSIC, NB_DIMENSIONS))
    place = rng.normal(size=(NB_IMAGES, INTRINSIC))
    rows = centres[group] + 0.1 * rng.normal(size=(NB_IMAGES, NB_DIMENSIONS))
    curved = np.hstack([place, np.sin(2 * place)])
    for number in range(NB_GROUPS):
        mine = group == number
        rows[mine] += curved[mine] @ directions[number]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def kept(nearest: np.ndarray, points: np.ndarray) -> float:
    """Share of the nearest neighbours by vector that are nearest neighbours by point."""
    hits = 0
    for row, point in enumerate(points):
        distance = np.square(points - point).sum(axis=1)
        distance[row] = np.inf
        hits += len(np.intersect1d(nearest[row], np.argpartition(distance, KEPT)[:KEPT]))
    return hits / nearest.size


def measured(work: str, folder: Path, seed: int = 0) -> tuple[float, float]:
    """CPU and wall seconds of one process."""
    started = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", PROCESS.format(work=work), str(folder), str(seed)],
        cwd=Path(__file__).parent.parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(answer.stdout), time.perf_counter() - started


def main() -> None:
    """Print the table."""
    from panoptic_assets.features.neighbors import nearest_neighbors

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    vectors = sheets()
    before = time.process_time()
    graph = nearest_neighbors(vectors, 50)
    print(f"the neighbour graph itself: {time.process_time() - before:.1f} CPU s")
    ways = {"ours, from the graph": OURS, "umap-learn": DEFAULT, "umap-learn, seeded": SEEDED}
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", vectors)
        np.save(folder / "indices.npy", graph.indices)
        np.save(folder / "similarities.npy", graph.similarities)
        for work in ways.values():  # umap-learn keeps some of what it compiles on the disk
            measured(work, folder)
        for seed in range(rounds):
            for way, work in ways.items():
                cpu, wall = measured(work, folder, seed)
                share = kept(graph.indices[:, :KEPT], np.load(folder / "points.npy"))
                found[way].append((cpu, wall, share))
                print(json.dumps({"way": way, "cpu": cpu, "wall": wall, "kept": share}), flush=True)
    print(f"{os.cpu_count()} cores, medians of {rounds}")
    ours = statistics.median(cpu for cpu, _, _ in found["ours, from the graph"])
    for way, rows in found.items():
        cpu, wall, share = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{way:<22} {cpu:6.1f} CPU s {wall:6.1f} s wall  kept {share:.3f}  {cpu / ours:4.1f}x"
        )


if __name__ == "__main__":
    main()
