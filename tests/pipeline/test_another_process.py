"""What is computed is the same to the bit in another process (A4, K3).

One process computes all of it: most of its time is imports. That threads change nothing is tested
beside each method, in ``tests/unit``.
"""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from panoptic_assets.clustering.algorithms.automatic import automatic
from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.clustering.algorithms.libraries import kmeans
from panoptic_assets.features.neighbors import nearest_neighbors
from tests.unit.clustering.test_automatic import HARD, planted
from tests.unit.clustering.test_consensus import combine, noisy_runs
from tests.unit.clustering.test_duplicates import DATA, find
from tests.unit.clustering.test_kmeans import GIVEN, many
from tests.unit.clustering.test_libraries import FINDING, blobs, data_of
from tests.unit.features.test_neighbors import vectors


def hard_points():
    """Points that have no easy answer."""
    points = blobs(seed=5) + np.random.default_rng(1).normal(scale=0.1, size=(320, 64))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def graph():
    found = nearest_neighbors(vectors(1500, 512), 20)
    return sha256(found.indices.tobytes() + found.similarities.tobytes()).hexdigest()


ANSWERS = {
    "automatic": lambda: automatic(Data(planted(**HARD)), 0).labels.tolist(),
    "kmeans on many": lambda: kmeans(Data(many()), 7, **GIVEN).labels.tolist(),
    "neighbors": graph,
    **{
        f"consensus {number}": lambda number=number: combine(
            noisy_runs(changed=0.3)[1], number
        ).labels.tolist()
        for number in (-1, 5)
    },
    **{
        f"duplicates {name}": lambda name=name: find(DATA[name], 0.9).labels.tolist()
        for name in DATA
    },
    **{
        way: lambda way=way: FINDING[way].compute(data_of(hard_points()), 7).labels.tolist()
        for way in FINDING
    },
}


@pytest.fixture(scope="module")
def others():
    """What a process of its own answers."""
    code = (
        "import json; from tests.pipeline.test_another_process import ANSWERS\n"
        "print(json.dumps({name: answer() for name, answer in ANSWERS.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ANSWERS)
def test_another_process_gives_the_same_answer(name, others):
    assert ANSWERS[name]() == others[name]
