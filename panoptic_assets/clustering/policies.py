"""Refresh policies: what becomes of a run when its corpus changes, as its file says it.

Belongs here: the policies with their parameters, and reading and writing them beside a run's
configuration. Does not belong here: what a policy does (``panoptic_assets.upkeep.refreshing``).
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.resolution import Document, parse, registered_config
from panoptic_assets.spec.text import shown
from resources.errors import InputError

if TYPE_CHECKING:
    from resources.registry import Registry


_EXAMPLE = "refresh: {assign: {most_novel: 0.25}}"


class Keep(Parameters):
    """The run stays what it is, until somebody clusters again."""

    name: Literal["keep"] = "keep"


class Assign(Parameters):
    """New images go to the nearest cluster; what left the scope goes; no cluster changes else."""

    name: Literal["assign"] = "assign"
    most_novel: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of the new images that may be farther from their cluster than 95 % of "
        "its usual images; of more, and of 20 new images or more, the record says that clustering "
        "again is due. 0.05 is expected.",
    )
    most_new: float = Field(
        default=0.5,
        ge=0,
        allow_inf_nan=False,
        description="New images for each one that was clustered; of more it says so, too.",
    )


class Recluster(Parameters):
    """All is clustered again with the recorded parameters; clusters keep their numbers."""

    name: Literal["recluster"] = "recluster"


POLICIES = (Keep, Assign, Recluster)
Policy = Keep | Assign | Recluster


class RefreshConfig(Parameters):
    """What happens to a run when its corpus changes."""

    refresh: Policy = Field(
        default=Keep(),
        discriminator="name",
        examples=[_EXAMPLE],
        description="The run's refresh policy.",
    )


def parse_policy(value: object, source: str) -> Policy:
    """Read a refresh policy: its name, or a mapping of its name to its parameters.

    Args:
        value: As YAML gives it.
        source: Where it is written, for the message.

    Raises:
        InputError: It is none, or a parameter is unknown or out of its limits.
    """
    known = [policy.model_fields["name"].default for policy in POLICIES]
    chosen = {value: {}} if isinstance(value, str) else value
    if not isinstance(chosen, dict) or len(chosen) != 1 or next(iter(chosen)) not in known:
        raise InputError(
            "{source}: `refresh` is {first} or {last}, as in `refresh: assign` or `{example}` "
            "(given: {value}).",
            id="no-such-refresh-policy",
            source=source,
            first=", ".join(known[:-1]),
            last=known[-1],
            example=_EXAMPLE,
            value=shown(value),
        )
    try:
        return parse(RefreshConfig, {"refresh": chosen}).refresh
    except InputError as error:
        raise InputError(
            "{source}: {reason}", id="refresh-policy-unusable", source=source, reason=error
        ) from error


def policy_of(registry: "Registry", run_key: str) -> Policy:
    """The refresh policy of a run: what its file says, else ``keep``.

    Raises:
        InputError: The file cannot be used.
    """
    return parse_policy(registry.policy(run_key), f"configs/runs/{run_key}.yaml")


def policy_document(policy: Policy) -> str | Document:
    """A policy as its run's file holds it: its name, or that with its parameters."""
    fields = policy.model_dump(exclude={"name"})
    return {policy.name: fields} if fields else policy.name


def registered_clustering(document: Document | None, asset: str, file: str) -> Document | None:
    """What the registry file of a run, or of a divided cluster, asks for; None without such a file.

    Args:
        document: The file's content: the configuration, and in a run's file its refresh policy.
        asset: ``clustering`` or ``nested_clustering``.
        file: The file's name, for the message.

    Raises:
        InputError: The file holds something else, or a policy that cannot be used.
    """
    if document is None:
        return None
    has_policy = asset == "clustering"
    if "refresh" in document and not has_policy:
        raise InputError(
            "{file}: a divided cluster has no refresh policy of its own, it follows its run: "
            "write `refresh` into the run's file.",
            id="policy-of-divided-cluster",
            file=file,
        )
    if "refresh" in document:
        parse_policy(document["refresh"], file)
    content = {name: value for name, value in document.items() if name != "refresh"}
    beside = "beside it `refresh: …` or nothing" if has_policy else "nothing else"
    return registered_config(content, asset, file, beside)
