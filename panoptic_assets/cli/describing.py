"""Commands that say what can be asked for: ``methods`` and ``labellers``.

Belongs here: describing classes of configuration, ours and other packages'. Does not belong here:
asking for them (``clustering``, ``labels``).
"""

import inspect
from typing import TYPE_CHECKING

import click

from panoptic_assets.cli.terminal import say
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.spec.fields import Parameters


@click.command()
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """Describe the clustering methods with all their parameters, or the method NAME."""
    from panoptic_assets.clustering.config import METHODS

    if not _describe(METHODS, name):
        raise InputError(
            "There is no method {name!r}. Existing ones: {known}.",
            id="no-such-method",
            name=name,
            known=_names(METHODS),
        )


@click.command()
@click.argument("name", required=False)
def labellers(name: str | None) -> None:
    """Describe what can name clusters, with all parameters, or the labeller NAME."""
    from panoptic_assets.labels.config import LABEL_METHODS

    if not _describe(LABEL_METHODS, name):
        raise InputError(
            "There is no labeller {name!r}. Existing ones: {known}.",
            id="no-such-labeller",
            name=name,
            known=_names(LABEL_METHODS),
        )


def _names(choices: "tuple[type[Parameters], ...]") -> str:
    from panoptic_assets.spec.extensions import name_of

    return ", ".join(map(name_of, choices))


def _describe(choices: "tuple[type[Parameters], ...]", name: str | None) -> bool:
    """Print all choices, or the one of that name; whether there was one."""
    from panoptic_assets.spec.extensions import name_of
    from panoptic_assets.spec.fields import is_advanced

    found = [choice for choice in choices if name in (None, name_of(choice))]
    for choice in found:
        say(f"{name_of(choice)}: {inspect.getdoc(choice)}".splitlines()[0])
        for field_name, field in choice.model_fields.items():
            if field_name != "name":
                default = field.get_default(call_default_factory=True)
                shown = "none" if default is None else default
                advanced = ", advanced" if is_advanced(field) else ""
                say(f"  {field_name} ({shown}{advanced}): {field.description}")
        say("")
    return bool(found)
