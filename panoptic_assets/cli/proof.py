"""Commands that prove answers: computing them again, explaining a tag, bundling the evidence.

Belongs here: ``verify``, ``explain``, ``bundle``. Does not belong here: what is proved and how
(``proof.verification``, ``proof.explanation``, ``proof.bundles``).
"""

import json
from pathlib import Path

import click

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import say, tell
from panoptic_assets.spec.text import counted
from resources.errors import InputError

_CHECKED = {True: "✓", False: "✗", None: " "}


@click.command()
@click.argument("keys", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every run and every divided node.")
@click.option("--no-pixels", is_flag=True, help="Do not read the images' files.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a line.")
@click.pass_context
def verify(
    context: click.Context, keys: tuple[str, ...], every: bool, no_pixels: bool, as_json: bool
) -> None:
    """Compute the runs or nodes KEYS again on what they read, and compare every hash.

    Of a run, all that is divided below it is verified, too. Exit code 0: each is proved; 1: one is
    not, and the links that differ are marked with ✗; 3: each is proved, but one has no witness:
    Dagster's event log does not know its record. What is marked with ≠ is another one now, such as
    the version of a library, and breaks nothing as long as the answer is the same. A clustering
    that held an image which was forgotten cannot be verified any more, and is marked with ?.
    """
    if every == bool(keys):
        raise InputError(
            "Give the keys of runs or nodes, or --all: one of the two.", id="keys-or-all"
        )
    from panoptic_assets.proof.verdict import MARKS, NO_WITNESS, REMEDY

    project = open_project(context.obj)
    failed = without = 0
    with project.verifier(not no_pixels) as verifier:
        asked = [found for key in keys for found in verifier.keys(key)] or verifier.all_keys()
        for key in dict.fromkeys(asked):
            verdict = verifier.verify(key)
            failed += verdict.failed
            without += verdict.proved and not verdict.witnessed
            if as_json:
                click.echo(json.dumps(verdict.as_dictionary(), ensure_ascii=False))
                continue
            say(f"{verdict.mark} {verdict.record_id}: {verdict.summary}")
            for link in verdict.links:
                say(f"  {MARKS[link.state]} {link.name:<14} {link.text}")
    if not asked:
        tell("No runs yet: panoptic-assets cluster KEY")
    if without:
        text = f"Proved, no witness: {counted(without, 'clustering')}. {NO_WITNESS}: {REMEDY}."
        tell(text, "yellow")
    if failed:
        tell(f"Not proved: {counted(failed, 'clustering')}.", "red")
        context.exit(1)
    if without:
        context.exit(3)


@click.command()
@click.argument("image")
@click.option("--tag", required=True, help="The tag's path, as '9 > 1', or id.")
@click.option("--property", "property_name", help="The tag's; Clustering by default.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.pass_context
def explain(
    context: click.Context, image: str, tag: str, property_name: str | None, as_json: bool
) -> None:
    """Say why IMAGE carries a tag: from who gave it, to the run, the vector and the file.

    IMAGE is an id, the first 8 or more characters of one, or a path. Each link whose hash can be
    compared is marked ✓ or ✗; exit code 1 if one is ✗.
    """
    from panoptic_assets.proof.explanation import explain as explanation_of

    acting = open_project(context.obj).context
    found = explanation_of(acting.store, acting.source, image, tag, property_name)
    if as_json:
        click.echo(json.dumps(found.as_dictionary(), ensure_ascii=False))
    else:
        say(f"{found.image_id} carries {found.path} of {found.property_name}:")
        for note in found.notes:
            tell(note, "yellow")
        for step in found.steps:
            digest = f"  {step.sha256}" if step.sha256 else ""
            say(f"  {_CHECKED[step.checked]} {step.name:<8} {step.text}{digest}")
    if not found.holds:
        tell("Not all of it is what was recorded: see the links marked ✗.", "red")
        context.exit(1)


@click.command()
@click.argument("key")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; KEY.zip in the working directory by default.",
)
@click.option("--vectors", is_flag=True, help="Put the vectors in, so that scores can be checked.")
@click.option("--replace", is_flag=True, help="Replace the file if it is there.")
@click.pass_context
def bundle(
    context: click.Context, key: str, output: Path | None, vectors: bool, replace: bool
) -> None:
    """Write the evidence for the run KEY, with all that is divided below it, as one zip file.

    Whoever has it can check it with Python alone, offline: `python verify.py KEY.zip`, with the
    verify.py of the zip or of another bundle.
    """
    from panoptic_assets.proof.bundles import write_bundle

    acting = open_project(context.obj).context
    path = output or Path(f"{key}.zip")
    written = write_bundle(
        acting.store,
        acting.models,
        acting.registry,
        key,
        path,
        with_vectors=vectors,
        overwrite=replace,
        report=tell,
    )
    say(f"{path}: {counted(written.nb_files, 'file')}, {written.nb_bytes:,} bytes")
    say(f"sha256 of its MANIFEST.json: {written.fingerprint}")
