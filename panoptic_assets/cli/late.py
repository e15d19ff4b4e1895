"""Commands whose modules, and options that are made from Config classes, come when they are needed.

Belongs here: how click's groups and commands wait. Does not belong here: which commands there are
(``main``), and what their options are (``options``).

`--help` of all commands, and what a command's text alone refuses, then load neither pydantic nor
NumPy, which cost more than the answer.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Late:
    """Where a command is."""

    place: str
    """Its module in ``panoptic_assets.cli`` and its name there, as ``clustering:runs``."""
    help: str
    """Its help, as far as the list of all commands shows it: the first sentence."""


class LateGroup(click.Group):
    """A group that imports the module of a command when that command is called.

    Args:
        late: The commands by name.
    """

    def __init__(self, *arguments: Any, late: dict[str, Late], **options: Any):
        super().__init__(*arguments, **options)
        self.late = late
        # What the list of all commands shows, and of which a wrong name gets the nearest.
        self.commands = {name: click.Command(name, help=each.help) for name, each in late.items()}

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of all commands, as click sorts them."""
        return sorted(self.late)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name, imported now."""
        if name not in self.late:
            return None
        module, _, attribute = self.late[name].place.partition(":")
        command = getattr(importlib.import_module(f"panoptic_assets.cli.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of all commands, without importing any."""
        click.Group(commands=self.commands).format_commands(context, formatter)


class LateOptions(click.Command):
    """A command that may have options by :func:`late`.

    Args:
        first: Checks the first argument, where it stands before all options, before these are made;
            raises InputError.
    """

    def __init__(
        self, *arguments: Any, first: Callable[[str], object] | None = None, **options: Any
    ):
        super().__init__(*arguments, **options)
        self.first = first

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the arguments of a command line."""
        if self.first is not None and args and not args[0].startswith("-"):
            self.first(args[0])
        return super().parse_args(context, args)

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        """All options and arguments."""
        self.params = [
            made
            for param in self.params
            for made in (param.made() if isinstance(param, _Promise) else [param])
        ]
        return super().get_params(context)


def late(
    options: Callable[[Callable[..., None]], Callable[..., None]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a :class:`LateOptions` the options that a decorator gives, when they are needed.

    They stand in the help where this decorator stands.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        # As click's own decorators do: from the last to the first.
        promised: list[Any] = command.__dict__.setdefault("__click_params__", [])
        promised.append(_Promise(options))
        return command

    return add


class _Promise:
    def __init__(self, options: Callable[[Callable[..., None]], Callable[..., None]]):
        self.options = options

    def made(self) -> list[click.Parameter]:
        def command() -> None:
            pass

        self.options(command)
        made: list[click.Parameter] = command.__dict__["__click_params__"]
        return made[::-1]
