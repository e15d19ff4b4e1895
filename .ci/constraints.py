"""Makes configs/deploy/constraints.txt anew: ``python .ci/constraints.py``, on Python 3.11.

Pip resolves the project with every extra of its users, as if nothing were installed, and installs
nothing; then it must find a wheel of each version for newer Pythons too. What only torch asks for
is left out with it. Takes two CPU minutes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FILE = ROOT / "configs" / "deploy" / "constraints.txt"
EXTRAS = ("accelerator", "heif", "jxl", "mini", "postgres", "s3", "umap", "vision")
FREE = frozenset({"torch", "torchvision"})
NEWER = ("3.12", "3.13")
HEADER = f"""\
# Versions of every package that panoptic_assets and its extras need, for an installation that comes
# out the same each time: pip install -c configs/deploy/constraints.txt ".[mini]"
#
# Made by `python .ci/constraints.py` on Python {".".join(map(str, sys.version_info[:2]))} for \
Linux. Pip finds a wheel of each version for
# {" and ".join(NEWER)} as well.
# Torch, torchvision and what only they need are left free: a build for CPUs and one for each
# version of CUDA have versions of their own (2.9.0+cpu), and which is right depends on the machine.
"""


def pip_install(*options: str | Path) -> None:
    """What pip would install of the project with all extras."""
    wanted = f"{ROOT}[{','.join(EXTRAS)}]"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", *options, wanted]
    subprocess.run(command, check=True)


def resolved() -> dict[str, dict[str, object]]:
    """The metadata of each package that pip would install, by its canonical name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip_install("--ignore-installed", "--report", report)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonicalize_name(each["metadata"]["name"]): each["metadata"] for each in found}


def needed(packages: dict[str, dict[str, object]]) -> set[str]:
    """Names of what the project needs on a way that does not go through torch."""
    asked: set[tuple[str, str]] = set()
    waiting = [("panoptic-assets", extra) for extra in ("", *EXTRAS)]
    while waiting:
        name, extra = step = waiting.pop()
        if step in asked or name in FREE:
            continue
        asked.add(step)
        environment = {**default_environment(), "extra": extra}
        for line in packages[name].get("requires_dist", []):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                below = canonicalize_name(requirement.name)
                waiting += [(below, of) for of in ("", *requirement.extras)]
    return {name for name, _ in asked} - {"panoptic-assets"}


def main() -> None:
    """Resolve, write the file, and see that it holds for newer Pythons."""
    packages = resolved()
    lines = [f"{name}=={packages[name]['version']}\n" for name in sorted(needed(packages))]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(HEADER + "".join(lines), encoding="utf-8")
    for python in NEWER:
        # Nothing is written to the target, but pip must be told of one.
        wheels = ("--only-binary=:all:", "--target", FILE.parent / "none")
        pip_install("--python-version", python, *wheels, "--constraint", FILE)


if __name__ == "__main__":
    main()
