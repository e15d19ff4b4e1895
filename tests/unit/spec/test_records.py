"""Records: what is in their documents and hashes."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from panoptic_assets.spec import seals
from panoptic_assets.spec.records import Cause, ProjectionRecord, Record

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MADE_FROM = {
    "config": {"method": {"kmeans": {"nb_clusters": 2}}, "features": "mini", "seed": 0},
    "inputs": [{"table": "vectors.mini", "version": 2, "sha256": "1" * 64}],
    "libraries": {"numpy": "2"},
    "code_version": "0",
    "machine": {"system": "Linux"},
}
RECORD = MADE_FROM | {
    "key": "greek",
    "run_key": "greek",
    "revision": 1,
    "parent_record": None,
    "parent_output": None,
    "counts": {"in_scope": 9, "clustered": 8, "remainder": 1, "not_embedded": 0},
    "nb_clusters": 2,
    "baseline_score": 80.0,
    "output": "0" * 64,
    "git_commit": None,
    "dagster_run_id": "12345678",
    "started_at": NOW,
    "finished_at": NOW,
}
PROJECTION = {
    "key": "mini/pca",
    "nb_images": 8,
    "nb_not_embedded": 0,
    "explained_variance": None,
    "trustworthiness": 1.0,
    "output": "0" * 64,
    "git_commit": None,
    "dagster_run_id": "12345678",
    "started_at": NOW,
    "finished_at": NOW,
}


def document(model):
    return json.loads(model.model_dump_json())


@pytest.mark.parametrize("given", [{}, {"algorithm": 1}])
def test_the_first_algorithm_is_in_no_document_seal_or_hash(given):
    """DESIGN 7: missing is 1, and hashes are those of records that are older than the number."""
    record, cause = Record(**RECORD | given), Cause(**MADE_FROM | given)
    assert record.algorithm == cause.algorithm == 1
    assert "algorithm" not in document(record) | document(cause)
    # As the version before the number computed them.
    assert record.record_id == "greek@1-12345678"
    assert record.cause == "2c985c52465681f52c4e131c7a6da25aa92de218e215754f65a606de33c1d0cc"
    assert record.data_version == "dd2bba604949ab5a11ef35908909cfd115bf229cb4b46a12ff96072d24edd1e4"
    root = seals.seal(document(record))["root"]
    assert root == "c6936cefab6e8fffaf27c09ae8412c87ccf38f9194cb52ff75e836d3a82fdb47"
    assert cause.sha256 == "c5011344dcceca921c996c6e9da5d1b311db70395bf9b3925e327ead268c0aca"


def test_a_later_algorithm_is_in_the_document_and_in_every_hash():
    first, second, third = (Record(**RECORD, algorithm=number) for number in (1, 2, 3))
    assert Record.model_validate_json(second.model_dump_json()) == second
    assert document(second) == document(first) | {"algorithm": 2}
    assert len({one.data_version for one in (first, second, third)}) == 3
    causes = [Cause(**MADE_FROM, algorithm=number) for number in (1, 2, 3)]
    made = [ProjectionRecord(**PROJECTION, cause=cause) for cause in causes]
    assert len({one.data_version for one in made}) == 3
    assert document(made[1])["cause"]["algorithm"] == 2


@pytest.mark.parametrize(("stored", "written"), [(1, 2), (2, 1), (2, 3)])
def test_no_number_can_be_put_in_place_of_another(stored, written):
    sealed = seals.seal(document(Record(**RECORD, algorithm=written)))
    assert seals.changed(document(Record(**RECORD, algorithm=stored)), sealed) == ["algorithm"]


@pytest.mark.parametrize("number", [0, -1, 1.5, "two"])
def test_what_is_no_number_of_an_algorithm_is_refused(number):
    with pytest.raises(ValidationError, match="algorithm"):
        Record(**RECORD, algorithm=number)
