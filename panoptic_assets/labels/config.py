"""What can be asked of naming clusters: the labellers, ours and other packages', and their runs.

Belongs here: how labellers are found, and what is asked beside their parameters. Does not belong
here: the parameters (``labels.labellers``), and how names are found.

Another package adds a labeller by an entry point of the group ``panoptic_assets.labellers`` that
names a subclass of :class:`~panoptic_assets.labels.labellers.LabellerConfig`; the labeller is then
in the configuration of the asset, on the command line and in ``panoptic-assets labellers``.
:mod:`panoptic_assets.labels.labeller_checks` has the checks that its author runs.
"""

from typing import TYPE_CHECKING, Union

from pydantic import Field

from panoptic_assets.labels.labellers import OURS, LabellerConfig, ZeroShot
from panoptic_assets.spec.extensions import Kind
from panoptic_assets.spec.fields import ADVANCED, Parameters

ENTRY_POINTS = "panoptic_assets.labellers"
"""Group of the entry points that name Config classes of other packages."""


KIND = Kind(
    called="labeller",
    base=LabellerConfig,
    group=ENTRY_POINTS,
    needs=frozenset({"vectors", "texts", "pictures", "names", "properties", "vocabulary"}),
    reading={
        "property": (str, frozenset({"properties"})),
        "vector_type": (str, frozenset({"vectors", "texts"})),
    },
    # Fields of the configuration, then arguments and options of `label`; `--template` is that of
    # the parameter `templates`.
    reserved=frozenset(
        {"method", "label_remainder", "seed", "names", "replace_names"}
        | {"folder", "help", "key", "template"}
    ),
)

LABEL_METHODS = KIND.with_others(OURS)
"""Every labeller that can be asked for."""


def is_ours(labeller: LabellerConfig) -> bool:
    """Whether a labeller is of this package, so that what it does wrong is a fault of this one."""
    return type(labeller) in OURS


if TYPE_CHECKING:
    LabelMethod = LabellerConfig
else:
    # Known when the program runs only: other packages add labellers.
    LabelMethod = Union[LABEL_METHODS]  # noqa: UP007


class LabelsConfig(Parameters):
    """Configuration of naming the clusters of a run's whole tree."""

    method: LabelMethod = Field(
        default=ZeroShot(),
        discriminator="name",
        examples=["method: {zero_shot: {language: fr}}"],
        description="Who names the clusters.",
    )
    label_remainder: bool = Field(
        default=False,
        description="Name remainders as well, though they have nothing in common.",
        json_schema_extra=ADVANCED,
    )
    names: dict[str, str] = Field(
        default_factory=dict,
        description="Names given by hand, by cluster, such as `{greek/3: Greek vases}`: only these "
        "clusters are named, and nobody is asked; an empty name takes away what is there.",
        json_schema_extra=ADVANCED,
    )
    replace_names: bool = Field(
        default=False,
        description="Name those clusters as well that were named by hand.",
        json_schema_extra=ADVANCED,
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Of all that is random, such as the images that a vision language model is "
        "shown.",
        json_schema_extra=ADVANCED,
    )
