"""What the store costs: `python -m tests.benchmarks.store` prints a table.

Belongs here: times and disk of upserts, commits and clean-up, each against its plain alternative.
Does not belong here: whether rows are right, which the tests say.

Measured on 2 cores, local disk, other work running (load 3-4), LanceDB 0.40, pylance 14.0. Medians
of one run, then their range over seven runs; wall times, CPU times are near them:

- upsert of 1 % of 20,000 x 512: 12 ms (10-17); reading, changing and writing all rows 199 ms
  (148-272), 17 times as much (10.6-28; in CPU time 14, 10-19); writing alone 148 ms (112-203).
- disk after 11 pinned versions with clean-up: 1.037 of the vectors that they hold. 0.031 of it are
  the ids (64 characters beside 2,048 bytes), the rest are manifests. The clean-up takes 2 ms.
- 4,096 rows staged in 10-27 ms, committed in 41-81 ms (empty table), 28-30 ms (20,000 rows),
  58-77 ms (200,000 rows).
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.lance import LanceStore
from resources.schemas import vectors_schema

_IMAGES, _DIM = 20_000, 512
_SHARE = _IMAGES // 100
_GROUP = 4_096
_REPEATS = 15


def vectors(numbers: range, seed: int) -> pa.Table:
    """Rows of a vector type with random vectors: they do not compress, as real ones do not."""
    values = np.random.default_rng(seed).standard_normal((len(numbers), _DIM), dtype=np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return pa.table(
        [
            pa.array([sha256(str(number).encode()).hexdigest() for number in numbers]),
            pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), _DIM),
        ],
        schema=vectors_schema(_DIM),
    )


def disk(store: LanceStore) -> int:
    """Bytes of all files of a store."""
    return sum(path.stat().st_size for path in Path(store.uri).rglob("*") if path.is_file())


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of an action, all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(name: str, times: list[tuple[float, float]]) -> float:
    """Print the medians; returns that of the wall time."""
    wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
    print(f"{name:58} {1000 * wall:8.1f} ms  {1000 * cpu:8.1f} CPU ms")
    return wall


def benchmark_upsert(folder: Path) -> None:
    """1 % of the rows, half of them new, against writing the whole table again."""
    store = LanceStore(uri=str(folder))
    store.create("vectors.a", vectors_schema(_DIM), {})
    store.upsert("vectors.a", vectors(range(_IMAGES), 0))
    plain = lancedb.connect(folder)
    plain.create_table("vectors.whole", store.read("vectors.a"))
    upserts, rewrites, writes = [], [], []
    for repeat in range(_REPEATS):
        start = _IMAGES + (repeat - 1) * _SHARE // 2
        rows = vectors(range(start, start + _SHARE), repeat + 1)

        def changed(rows: pa.Table = rows) -> pa.Table:
            old = store.read("vectors.whole")
            kept = pc.invert(pc.is_in(old["image_id"], value_set=rows["image_id"]))
            return pa.concat_tables([old.filter(kept), rows])

        def write(whole: pa.Table) -> None:
            plain.create_table("vectors.whole", whole, mode="overwrite")

        upserts.append(seconds(lambda rows=rows: store.upsert("vectors.a", rows)))
        rewrites.append(seconds(lambda changed=changed: write(changed())))
        whole = changed()
        writes.append(seconds(lambda whole=whole: write(whole)))
    name = f"{_IMAGES:,} x {_DIM}: "
    fast = report(name + "upsert of 1 %", upserts)
    for what, times in (("read, change and write all", rewrites), ("only write all", writes)):
        slow = report(name + what, times)
        print(f"{'  times the upsert':58} {slow / fast:8.1f}")


def benchmark_disk(folder: Path) -> None:
    """Ten refreshes of 1 %, half new rows and half changed ones, each pinned and cleaned up."""
    store = LanceStore(uri=str(folder))
    store.create("vectors.a", vectors_schema(_DIM), {})
    written, cleaning = 0, []
    chosen = range(_IMAGES)
    for refresh in range(11):
        rows = vectors(chosen, refresh)
        written += rows.num_rows
        store.upsert("vectors.a", rows)
        store.pin("vectors.a", store.version("vectors.a"), f"refresh.{refresh}")
        cleaning.append(seconds(lambda: store.optimize("vectors.a", keep=timedelta(0))))
        start = _IMAGES + (refresh - 1) * _SHARE // 2
        chosen = range(start, start + _SHARE)
    report("clean-up after a refresh of 1 %", cleaning)
    ratio = disk(store) / (written * _DIM * 4)
    print(f"{'disk / vectors, 11 pinned versions kept':58} {ratio:8.3f}")


def benchmark_commit(folder: Path, base: int) -> None:
    """Staging and committing a group, into a table of ``base`` rows."""
    store = LanceStore(uri=str(folder))
    store.create("vectors.a", vectors_schema(_DIM), {})
    for start in range(0, base, _IMAGES):
        store.upsert("vectors.a", vectors(range(start, start + _IMAGES), start))
    staging, committing = [], []
    for repeat in range(_REPEATS):
        start = base + repeat * _GROUP
        rows = vectors(range(start, start + _GROUP), repeat)
        staging.append(seconds(lambda rows=rows: store.stage("vectors.a", rows)))
        names = store.staged("vectors.a")
        committing.append(seconds(lambda names=names: store.commit("vectors.a", names)))
    report(f"{base:,} rows: stage {_GROUP:,}", staging)
    report(f"{base:,} rows: commit {_GROUP:,}", committing)


def main() -> None:
    """Run every benchmark in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        benchmark_upsert(Path(folder) / "upsert")
        benchmark_disk(Path(folder) / "disk")
        for base in (0, 20_000, 200_000):
            benchmark_commit(Path(folder) / str(base), base)


if __name__ == "__main__":
    main()
