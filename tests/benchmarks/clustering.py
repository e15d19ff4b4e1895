"""Our clustering methods side by side with those of other tools.

    python -m tests.benchmarks.clustering [--rounds 3] [--keep FOLDER] [section ...]

Each measurement is a process of its own, as a Dagster step is; the ways take turns. ARI and NMI are
of all images, the remainder as one more class; `inside` is the ARI of the images that are in a
cluster. `CPU s` are user and system seconds of the process up to the labels, `call` those without
imports, `again` those of a second call in the same process, as in a server that runs on. Ours
include the neighbours unless they are `from the graph` that is stored. The labelled images are the
sample (253 in 24 folders), tuxpaint's stamps (506 in 23), openclipart (3,000 in 107) and
scikit-learn's digits (1,797 in 10); many folders of openclipart are no classes that one could see.

Two cores of an AMD EPYC with AVX-512, shared with other work, scikit-learn 1.9.1, hdbscan 0.8.44,
fast_hdbscan 0.3.4, faiss 1.15.1; one round, for 5,000 vectors medians of three for ours:

    vectors      way                 ARI    NMI inside    rest    k largest   CPU s   again
    sample       automatic         0.524  0.738  0.553     7 %   12    13 %    0.31    0.04
    sample       fast_hdbscan      0.235  0.568  0.217    17 %    4    37 %   28.67    0.28
    sample       hdbscan           0.230  0.563  0.213    17 %    4    37 %    1.11
    sample       sklearn HDBSCAN   0.229  0.564  0.212    17 %    4    37 %    1.09
    tuxpaint     automatic         0.442  0.656  0.518    10 %   20    11 %    0.34    0.06
    tuxpaint     fast_hdbscan      0.116  0.430  0.308    51 %    7    28 %   29.29    0.36
    tuxpaint     hdbscan           0.115  0.425  0.313    51 %    7    28 %    1.34
    tuxpaint     sklearn HDBSCAN   0.114  0.433  0.310    52 %    8    28 %    1.21
    openclipart  automatic         0.117  0.478  0.155    11 %   38     7 %    0.88    0.67
    openclipart  fast_hdbscan      0.006  0.305  0.455    78 %   36     4 %   28.18    1.06
    openclipart  hdbscan           0.006  0.303  0.460    78 %   36     4 %    6.92
    openclipart  sklearn HDBSCAN   0.007  0.338  0.457    75 %   47     4 %    8.52
    digits       automatic         0.424  0.545  0.511    10 %   16    10 %    0.55    0.24
    digits       fast_hdbscan      0.044  0.133  0.040    54 %    2    42 %   28.93    0.42
    digits       hdbscan           0.044  0.133  0.040    54 %    2    42 %    3.11
    digits       sklearn HDBSCAN   0.046  0.139  0.041    51 %    2    45 %    3.36
    5,000        automatic         0.801  0.902  0.882     8 %   77    10 %    1.16    0.86
    5,000          from the graph  0.801  0.902  0.882     8 %   77    10 %    0.42    0.10
    5,000        fast_hdbscan      0.254  0.787  0.998    38 %  109    10 %   31.07    0.79
    5,000        hdbscan           0.253  0.785  0.998    38 %  109    10 %   17.67
    5,000        sklearn HDBSCAN   0.289  0.808  0.999    36 %  115    10 %   25.45
    20,000       automatic         0.829  0.928  0.907     6 %  117    10 %   11.14   10.57
    20,000         from the graph  0.829  0.928  0.907     6 %  117    10 %    1.41    0.62
    20,000       fast_hdbscan      0.402  0.850  0.999    29 %  137    10 %   30.32    2.15

fast_hdbscan compiles itself for 28 s in each process. Called again it is as quick at 5,000 as ours
(.44 in another run) and quicker at 20,000, where all but .6 s of ours are the exact neighbours; its
labels differ between runs (109 or 110 clusters of 5,000).

What else was tried for the automatic number, on the same graph and with the mean subtracted; ARI
where the remainder is a class, the share of the remainder in brackets:

                                        sample     tuxpaint   openclipart  digits     5,000
    automatic, with its remainder       .524 (.07) .442 (.10) .117 (.11)   .424 (.10) .801 (.08)
    the same without a remainder        .540       .470       .133         .447       .709
      10 neighbours                     .516       .488       .120         .495       .693
      10 neighbours, resolution 2       .547       .500       .139         .398       .710
      30 neighbours, resolution 2       .483       .472       .120                    .619
      all links as strong               .439       .452       .125         .469       .702
      the mean not subtracted           .494       .483       .127         .461       .701
      strength by local scaling         .508       .483       .140         .436       .713
      Jaccard of 15 shared neighbours,
      resolution 1                      .361       .335       .100                    .691
    HDBSCAN eom, on the graph's tree    .276 (.22) .009 (.06) .009 (.70)   .077 (.62) .093 (.58)
    HDBSCAN leaf, on the graph's tree   .186 (.43) .028 (.63) .006 (.72)   .005 (.90) .090 (.59)
    FINCH, its level of most modularity .514 (.02) .344 (.01) .115 (.00)   .282 (.00) .618 (.00)
    Chinese whispers                    .523 (.04) .360 (.06) .133 (.07)   .248 (.01) .454 (.01)
    components of shared neighbours .4  .384 (.22) .215 (.36) .014 (.54)   .013 (.70) .168 (.46)

Other orders of the rows change the ARI by .001 to .024 (standard deviation of five). The remainder
costs some ARI where every image has a class; of 5,000, where a tenth has none, it holds 64 % of
those, and 85 % of it are those.

K-means, 100 clusters, one thread, CPU seconds of the call; 3 seeds, mean inertia, median time:

    CLIP-like   20000 n_init 1 kmeans          inertia   4347.63    1.64 CPU s   336 MiB
    CLIP-like   20000 n_init 1 sklearn KMeans  inertia   4355.73    4.16 CPU s   311 MiB
    CLIP-like   20000 n_init 1 faiss Kmeans    inertia   4369.87    0.68 CPU s   311 MiB
    CLIP-like   20000 n_init 3 kmeans          inertia   4333.62    3.77 CPU s   336 MiB
    CLIP-like   20000 n_init 3 sklearn KMeans  inertia   4348.29   12.09 CPU s   311 MiB
    CLIP-like   20000 n_init 3 faiss Kmeans    inertia   4369.87    0.66 CPU s   311 MiB
    labelled     5556 n_init 1 kmeans          inertia   1798.20    0.42 CPU s   311 MiB
    labelled     5556 n_init 1 sklearn KMeans  inertia   1817.54    0.93 CPU s   311 MiB
    labelled     5556 n_init 1 faiss Kmeans    inertia   1870.87    0.17 CPU s   311 MiB
    labelled     5556 n_init 3 kmeans          inertia   1798.25    0.86 CPU s   311 MiB
    labelled     5556 n_init 3 sklearn KMeans  inertia   1810.64    2.87 CPU s   311 MiB
    labelled     5556 n_init 3 faiss Kmeans    inertia   1870.87    0.18 CPU s   311 MiB

Faiss as Panoptic calls it: 20 iterations on 256 vectors for each cluster, one start. With two
threads on a busy machine scikit-learn's took 22 CPU s instead of 4: its threads wait for each other
at work. Duplicates: Panoptic's loop takes 62 CPU s for 20,000, by .02 of its turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from tests.benchmarks.corpora import clip_like, labelled

DUPLICATES = 0.95
LOOP_SHARE = 0.02
"""Of the images whose turn Panoptic's loop is given: the time of the others is the same."""


@dataclass(frozen=True)
class Way:
    """One way to divide; its code sets ``labels``, in a process of its own."""

    name: str
    imports: str
    work: str
    again: bool = False
    """Also measure a second call, in the process that has all compiled and loaded."""


@dataclass(frozen=True)
class Measured:
    """One process."""

    labels: np.ndarray
    cpu: float
    """User and system seconds from the start of the process to the labels."""
    call: float
    """Those without the imports."""
    again: float
    wall: float
    mebibytes: float


AUTOMATIC = Way(
    "automatic",
    "import scipy.sparse\n"
    "from panoptic_assets.clustering.algorithms.automatic import automatic\n"
    "from panoptic_assets.clustering.algorithms.interface import Data",
    "labels = automatic(Data(vectors), 0).labels",
    again=True,
)
FROM_GRAPH = Way(
    "  from the graph",
    "import scipy.sparse\n"
    "from panoptic_assets.clustering.algorithms.automatic import automatic\n"
    "from panoptic_assets.clustering.algorithms.interface import Data\n"
    "graph = np.load(folder / 'graph.npy').astype(np.int64)",
    "labels = automatic(Data(vectors, neighbors=lambda k: graph[:, :k]), 0).labels",
    again=True,
)
SKLEARN_HDBSCAN = Way(
    "sklearn HDBSCAN",
    "from sklearn.cluster import HDBSCAN",
    "labels = HDBSCAN(min_cluster_size=5, copy=False).fit_predict(vectors)",
)
HDBSCAN = Way(
    "hdbscan",
    "from hdbscan import HDBSCAN",
    "labels = HDBSCAN(min_cluster_size=5).fit_predict(vectors)",
)
FAST_HDBSCAN = Way(
    "fast_hdbscan",
    "from fast_hdbscan import HDBSCAN",
    "labels = HDBSCAN(min_cluster_size=5).fit_predict(vectors)",
    again=True,
)
AUTOMATIC_WAYS = AUTOMATIC, FROM_GRAPH, FAST_HDBSCAN, HDBSCAN, SKLEARN_HDBSCAN
OURS_KMEANS = Way(
    "kmeans",
    "import sklearn.cluster\n"
    "from panoptic_assets.clustering.algorithms.libraries import kmeans\n"
    "from panoptic_assets.clustering.algorithms.interface import Data",
    "labels = kmeans(Data(vectors), seed, nb_clusters=100, n_init={n_init}, init='k-means++',"
    " max_iter=300, tol=1e-4).labels",
)
SKLEARN_KMEANS = Way(
    "sklearn KMeans",
    "from sklearn.cluster import KMeans",
    "labels = KMeans(100, n_init={n_init}, random_state=seed).fit_predict(vectors)",
)
FAISS_KMEANS = Way(
    "faiss Kmeans",
    "import faiss",
    "kmeans = faiss.Kmeans(vectors.shape[1], 100, niter=20, seed=seed)\n"
    "kmeans.train(vectors)\n"
    "labels = kmeans.index.search(vectors, 1)[1].ravel()",
)
FIND_DUPLICATES = Way(
    "find_duplicates",
    "from panoptic_assets.clustering.algorithms.duplicates import find_duplicates\n"
    "from panoptic_assets.clustering.algorithms.interface import Data",
    f"labels = find_duplicates(Data(vectors), 0, min_similarity={DUPLICATES},"
    " guarantee='pairwise').labels",
)
LOOP = Way(
    "Panoptic's loop",
    "",
    f"""
labels = np.full(len(vectors), -1)
for row in range(int({LOOP_SHARE} * len(vectors))):
    if labels[row] == -1:
        alike = (vectors @ vectors[row] >= {DUPLICATES}) & (labels == -1)
        if alike.sum() > 1:
            labels[alike] = row
""",
)
PROCESS = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
warnings.simplefilter("ignore")
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
vectors = np.load(folder / "vectors.npy")
{imports}
imported = cpu()
{work}
first = cpu()
if {again}:
{second}
again = cpu()
np.save(folder / "labels.npy", labels)
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(first, first - imported, again - first, most)
"""


def measured(
    way: Way,
    vectors: np.ndarray,
    seed: int = 0,
    graph: np.ndarray | None = None,
    threads: int | None = None,
    **filled: int,
) -> Measured:
    """One way in a process of its own, with as many threads as it takes unless they are limited."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    work = way.work.format(**filled) if filled else way.work
    second = "\n".join(f"    {line}" for line in work.splitlines())
    code = PROCESS.format(imports=way.imports, work=work, again=way.again, second=second)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", vectors)
        if graph is not None:
            np.save(folder / "graph.npy", graph)
        started = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-c", code, str(folder), str(seed)],
            cwd=Path(__file__).parent.parent.parent,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        wall = time.perf_counter() - started
        cpu, call, again, mebibytes = map(float, answer.stdout.split())
        return Measured(np.load(folder / "labels.npy"), cpu, call, again, wall, mebibytes)


def compare(
    ways: Iterable[Way], vectors: np.ndarray, classes: np.ndarray, rounds: int, corpus: str
) -> None:
    """A table of automatic methods, which take turns; medians."""
    from panoptic_assets.features.neighbors import nearest_neighbors

    graph = nearest_neighbors(vectors, 50).indices
    found: dict[Way, list[Measured]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, rows in found.items():
            rows.append(measured(way, vectors, graph=graph))
    for way, rows in found.items():
        labels = rows[0].labels
        inside = labels >= 0
        sizes = np.bincount(labels[inside]) if inside.any() else np.zeros(1)
        again = f"{middle(row.again for row in rows):6.2f}" if way.again else "      "
        print(
            f"{corpus:<12} {way.name:<16}"
            f" {adjusted_rand_score(classes, labels):6.3f}"
            f" {normalized_mutual_info_score(classes, labels):6.3f}"
            f" {adjusted_rand_score(classes[inside], labels[inside]) if inside.any() else 0:6.3f}"
            f" {100 * np.mean(~inside):5.0f} % {np.count_nonzero(sizes):4}"
            f" {100 * sizes.max() / len(labels):5.0f} %"
            f" {middle(row.cpu for row in rows):7.2f} {middle(row.call for row in rows):6.2f}"
            f" {again}"
            f" {middle(row.wall for row in rows):7.2f} {middle(r.mebibytes for r in rows):6.0f}",
            flush=True,
        )


def middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def inertia(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of the clusters."""
    total = 0.0
    for label in np.unique(labels):
        rows = vectors[labels == label].astype(np.float64)
        total += float(np.square(rows - rows.mean(axis=0)).sum())
    return total


def head() -> None:
    """The names of the columns of :func:`compare`."""
    print(
        f"{'vectors':<12} {'way':<16} {'ARI':>6} {'NMI':>6} {'inside':>6} {'rest':>7} {'k':>4}"
        f" {'largest':>7} {'CPU s':>7} {'call':>6} {'again':>6} {'wall':>7} {'MiB':>6}"
    )


def on_labelled(rounds: int, keep: Path) -> None:
    """Automatic against HDBSCANs on labelled images."""
    head()
    for name, (vectors, classes) in labelled(keep).items():
        compare(AUTOMATIC_WAYS, vectors, classes, rounds, name)


def on_many(rounds: int, keep: Path) -> None:
    """Automatic against HDBSCANs on CLIP-like vectors; the slow ones on the smaller set alone."""
    head()
    compare(AUTOMATIC_WAYS, *clip_like(5_000), rounds, "5,000")
    compare(AUTOMATIC_WAYS[:3], *clip_like(20_000), rounds, "20,000")


def of_kmeans(rounds: int, keep: Path) -> None:
    """K-means, 100 clusters, one thread; each round has its own seed."""
    collections = {"CLIP-like": clip_like(20_000)[0]}
    real = [vectors for vectors, _ in labelled(keep).values()]
    collections["labelled"] = np.concatenate(real)
    for name, vectors in collections.items():
        for n_init in (1, 3):
            found: dict[Way, list[tuple[float, Measured]]] = {
                way: [] for way in (OURS_KMEANS, SKLEARN_KMEANS, FAISS_KMEANS)
            }
            for seed in range(rounds):
                for way, rows in found.items():
                    row = measured(way, vectors, seed, threads=1, n_init=n_init)
                    rows.append((inertia(vectors, row.labels), row))
            for way, rows in found.items():
                print(
                    f"{name:<10} {len(vectors):>6} n_init {n_init} {way.name:<15}"
                    f" inertia {statistics.mean(value for value, _ in rows):9.2f}"
                    f" {middle(row.call for _, row in rows):7.2f} CPU s"
                    f" {middle(row.wall for _, row in rows):7.2f} s wall"
                    f" {middle(row.mebibytes for _, row in rows):6.0f} MiB",
                    flush=True,
                )


def of_duplicates(rounds: int, keep: Path) -> None:
    """Almost equal images among 20,000, a tenth of which are altered copies of others."""
    rng = np.random.default_rng(0)
    vectors, _ = clip_like(20_000)
    copies = rng.choice(18_000, 2_000)
    noise = rng.normal(size=(2_000, vectors.shape[1])) * 0.15 / np.sqrt(vectors.shape[1])
    vectors[18_000:] = vectors[copies] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for way, share in ((FIND_DUPLICATES, 1.0), (LOOP, LOOP_SHARE)):
        rows = [measured(way, vectors) for _ in range(rounds)]
        print(
            f"{way.name:<16} {middle(row.cpu for row in rows) / share:8.1f} CPU s"
            f" {np.count_nonzero(rows[0].labels >= 0)} images in groups"
            + ("" if share == 1 else f" in {share:.0%} of the turns; time extrapolated"),
            flush=True,
        )


SECTIONS = {
    "labelled": on_labelled,
    "many": on_many,
    "kmeans": of_kmeans,
    "duplicates": of_duplicates,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="section")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder in which vectors of images are kept")
    given = parser.parse_args()
    print(json.dumps({"cores": os.cpu_count(), "rounds": given.rounds}))
    with tempfile.TemporaryDirectory() as name:
        keep = given.keep or Path(name)
        keep.mkdir(parents=True, exist_ok=True)
        for section in given.sections or SECTIONS:
            print(f"\n{section}: {SECTIONS[section].__doc__}", flush=True)
            SECTIONS[section](given.rounds, keep)


if __name__ == "__main__":
    main()
