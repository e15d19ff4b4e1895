"""Commands about runs whose corpus changes: their policies, and computing them again.

Belongs here: ``policy``, ``replay``, ``backfill``. Does not belong here: reading the corpus
(``corpus``), and what a policy does (``panoptic_assets.upkeep.refreshing``).
"""

from pathlib import Path
from typing import Any

import click
import yaml
from rich.table import Table
from rich.text import Text

from panoptic_assets.cli.opening import open_runner
from panoptic_assets.cli.terminal import output_console, say, tell
from panoptic_assets.clustering.policies import POLICIES, parse_policy, policy_document, policy_of
from panoptic_assets.spec.resolution import parse
from panoptic_assets.spec.text import counted, printable
from panoptic_assets.upkeep.config import BackfillConfig
from resources.errors import InputError

_POLICIES = [policy.model_fields["name"].default for policy in POLICIES]


@click.command()
@click.argument("key")
@click.argument("policy", required=False, type=click.Choice(_POLICIES))
@click.option("--most-novel", type=float, help="Of assign: share of new images that may be unlike.")
@click.option("--most-new", type=float, help="Of assign: new images for each that was clustered.")
@click.pass_obj
def policy(
    folder: Path | None,
    key: str,
    policy: str | None,
    most_novel: float | None,
    most_new: float | None,
) -> None:
    """Show what happens to the run KEY when the corpus changes, or choose it.

    keep: nothing. assign: new images go to the nearest cluster. recluster: all is clustered again
    with the recorded parameters, and clusters keep their numbers.
    """
    from panoptic_assets.clustering.dividing import registry_config
    from panoptic_assets.spec.keys import parse_run_key

    runner = open_runner(folder)
    record = runner.divisions(parse_run_key(key)).records.get(key)
    if record is None and registry_config(runner.registry, key, "clustering") is None:
        runner.divisions(key).get(key)  # which says what there is
    limits = {"most_novel": most_novel, "most_new": most_new}
    given = {name: value for name, value in limits.items() if value is not None}
    if policy is None and not given:
        say(_shown(policy_document(policy_of(runner.registry, key))))
        return
    chosen = parse_policy({policy or "assign": given}, "The command")
    otherwise = {"ops": {"clustering": {"config": record.config}}} if record else {}
    document = {chosen.name: given} if given else chosen.name
    path = runner.registry.set_policy(key, document, otherwise)
    tell(f"✓ {path}: {_shown({'refresh': document})}")


def _shown(document: Any) -> str:
    text = yaml.safe_dump(document, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip().removeprefix("{").removesuffix("}")


@click.command()
@click.argument("key")
@click.pass_obj
def replay(folder: Path | None, key: str) -> None:
    """Compute the run KEY, and all that is divided below it, again on the corpus of now.

    With the recorded parameters, stale divisions too. Clusters keep the numbers of those with which
    they share most of their images.
    """
    from panoptic_assets.spec.keys import parse_run_key

    runner = open_runner(folder)
    found = runner.backfill({"keys": [parse_run_key(key)], "policy": "replay"})
    [row] = found["results"]
    for step in row["steps"]:
        say(f"{step['key']}: {step['text']}")
    if row["failed"] and not row["steps"]:
        raise InputError(row["happened"])
    _end(found)


@click.command()
@click.argument("keys", nargs=-1)
@click.option(
    "--policy",
    type=click.Choice([*_POLICIES, "replay"]),
    help="For these runs, whatever their own policy is.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def backfill(folder: Path | None, keys: tuple[str, ...], policy: str | None, dry_run: bool) -> None:
    """Apply their refresh policies to all runs, or to the runs KEYS.

    Exit code 1: one of them, or something of it, could not be done; the others were.
    """
    from panoptic_assets.clustering.dividing import Dividing
    from panoptic_assets.upkeep.backfill import drift_text, summary
    from panoptic_assets.upkeep.refreshing import RunRefresh
    from panoptic_assets.upkeep.refreshing import backfill as refreshed

    runner = open_runner(folder)
    given: dict[str, Any] = {"keys": list(keys)} if keys else {}
    if policy:
        given["policy"] = policy
    if dry_run:
        dividing = Dividing(runner.store, runner.models, runner.registry, "", lambda line: None)
        done = refreshed(dividing, parse(BackfillConfig, given), write=False)
        found = summary([item for item in done if isinstance(item, RunRefresh)])
        found["results"] = found["results"].value
    else:
        found = runner.backfill(given)
    if not found["nb_runs"]:
        say("No runs yet: panoptic-assets cluster KEY")
        return
    grid = Table("run", "policy", "what happened", "drift", box=None)
    for row in found["results"]:
        style = "red" if row["failed"] else ""
        happened = Text(printable(row["happened"]), style)
        grid.add_row(row["run_key"], row["policy"], happened, drift_text(row))
    if found["results"]:
        output_console().print(grid)
    if kept := found["nb_kept"]:
        say(f"Kept as {'it is' if kept == 1 else 'they are'}: {counted(kept, 'run')}")
    _end(found)


def _end(found: dict[str, Any]) -> None:
    for row in found["results"]:
        if row["drift"] and row["drift"]["due"]:
            again = f"panoptic-assets replay {row['run_key']}"
            tell(f"Clustering {row['run_key']} again is due: {again}", "yellow")
    if found["nb_failed"]:
        raise click.exceptions.Exit(1)
