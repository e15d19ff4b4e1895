"""The outside world as Dagster's resources: what can be configured, and the plain object of it.

Belongs here: Dagster's wrappers of the classes in ``resources``, which know nothing of Dagster.
Does not belong here: their fields and what they do, which is said there once.

Assets, checks, sensors and jobs ask for the plain object (``dg.ResourceParam[LanceStore]``), and in
place of a wrapper Dagster takes a plain object, too.
"""

from typing import Any

import dagster as dg
from pydantic import BaseModel, create_model

from panoptic_assets.orchestration.acting import Acts, Context
from resources.engine import LocalEngine
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.report_folder import ReportFolder, pages_url
from resources.source import ImageSource


def _wrapper_of(plain: type[BaseModel]) -> type[dg.ConfigurableResource]:
    """The resource with a class's name, description and fields, that makes objects of it."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in plain.model_fields.items()
    }

    class Wrapper(dg.ConfigurableResource):
        def create_resource(self, context: dg.InitResourceContext) -> BaseModel:
            return plain(**{name: getattr(self, name) for name in fields})

    wrapper: type[dg.ConfigurableResource] = create_model(
        plain.__name__, __base__=Wrapper, __module__=__name__, __doc__=plain.__doc__, **fields
    )
    return wrapper


ImageSourceResource = _wrapper_of(ImageSource)
LanceStoreResource = _wrapper_of(LanceStore)
OpenClipModelsResource = _wrapper_of(OpenClipModels)
LocalEngineResource = _wrapper_of(LocalEngine)
RegistryResource = _wrapper_of(Registry)
ReportFolderResource = _wrapper_of(ReportFolder)


_OF_ACTS = ("store", "registry", "models", "source", "engine", "reports")


@dg.resource(required_resource_keys=set(_OF_ACTS))
def acts(context: dg.InitResourceContext) -> Acts:
    """What every act works with: all the other resources."""
    return Acts(Context(**{name: getattr(context.resources, name) for name in _OF_ACTS}))


def project_resources() -> dict[str, object]:
    """The resources of the project that the environment or the working directory names.

    Raises:
        InputError: ``$PANOPTIC_URL`` cannot be used, which every report would be linked by.
    """
    pages_url()
    return {
        # Its threads can be chosen for each run, under `resources` in the Launchpad.
        "source": ImageSourceResource.configure_at_launch(),
        "store": LanceStoreResource(),
        "models": OpenClipModelsResource(),
        "engine": LocalEngineResource(),
        "registry": RegistryResource(),
        "reports": ReportFolderResource(),
        "acts": acts,
    }
