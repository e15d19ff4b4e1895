"""Dagster's resources: the plain objects that they make, and what can be configured."""

import dagster as dg
import pytest

from panoptic_assets.definitions import build_defs
from panoptic_assets.orchestration.resources import project_resources
from resources.engine import LocalEngine
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.report_folder import ReportFolder
from resources.source import ImageSource

KINDS = {
    "source": ImageSource,
    "store": LanceStore,
    "models": OpenClipModels,
    "engine": LocalEngine,
    "registry": Registry,
    "reports": ReportFolder,
}


def given(config: dict, **resources: object) -> dict[str, object]:
    """The objects that an operation gets."""
    found = {}

    @dg.op(required_resource_keys=set(KINDS))
    def look(context: dg.OpExecutionContext) -> None:
        found.update({name: getattr(context.resources, name) for name in KINDS})

    @dg.job
    def looking() -> None:
        look()

    definitions = dg.Definitions(jobs=[looking], resources=project_resources() | resources)
    job = definitions.resolve_job_def("looking")
    assert job.execute_in_process(run_config={"resources": config}).success
    return found


def test_every_resource_is_a_plain_object() -> None:
    found = given({})
    assert {name: type(value) for name, value in found.items()} == KINDS
    assert found == {name: kind() for name, kind in KINDS.items()}


def test_what_is_configured_at_launch_reaches_the_object() -> None:
    config = {"root": "s3://bucket", "exclude": ["a"], "readers": 2, "storage_options": {"anon": 1}}
    found = given({"source": {"config": config}})
    assert found["source"] == ImageSource(**config)


def test_a_value_out_of_its_bounds_is_refused() -> None:
    with pytest.raises(dg.DagsterError) as caught:
        given({"source": {"config": {"readers": 0}}})
    assert "greater than or equal to 1" in str(caught.value.__cause__)


def test_a_plain_object_takes_the_place_of_a_resource() -> None:
    store = LanceStore(uri="memory://")
    assert given({}, store=store)["store"] is store
    resources = build_defs(store=store).resources
    assert resources is not None and resources["store"] is store
