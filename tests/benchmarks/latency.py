"""How soon commands answer: `python -m tests.benchmarks.latency` prints a table.

Belongs here: CPU seconds of whole processes, each beside `import dagster`, which what a command
costs is compared with. Does not belong here: what a command may load, which
``tests/pipeline/cli/test_start.py`` holds.

Runs alternate: a machine that others use is then as slow for the one as for the other. The project
is of the shipped sample, 253 images, with a run, a division and tags.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_GOALS: list[tuple[str, list[str], float, int]] = [
    # What is shown, the arguments, the goal as a ratio to `import dagster`, the exit code.
    ("--help", ["--help"], 0.25, 0),
    ("cluster ''", ["cluster", ""], 0.25, 2),
    ("runs --nope", ["runs", "--nope"], 0.25, 2),
    ("clusters none", ["clusters", "none"], 0.6, 2),
    ("runs", ["runs"], 0.6, 0),
    ("clusters", ["clusters", "demo"], 0.6, 0),
    ("tags", ["tags"], 0.6, 0),
    ("run-info", ["run-info", "demo"], 0.6, 0),
    ("status", ["status"], 0.6, 0),
    ("versions", ["versions"], 0.6, 0),
    ("tag rename", ["tag", "rename", "{tag}", "{other}"], 3, 0),
    ("cluster, 253 images", ["cluster", "cold{number}", "--nb-clusters", "10"], 4, 0),
]
_DEFINITIONS = 1.6


def cpu_seconds(command: list[str], folder: Path, expected: int) -> float:
    """User and system seconds of a process and of those that it waited for."""
    # Where modules are compiled each time, that is most of what a listing costs.
    without = ("DAGSTER_HOME", "PANOPTIC_PROJECT", "PYTHONDONTWRITEBYTECODE")
    variables = {k: v for k, v in os.environ.items() if k not in without}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=variables, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != expected:
            said.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {said.read().decode()}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure everything, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="Words of the first column.")
    given = parser.parse_args()
    works = [
        (name, ["-m", "panoptic_assets.cli", *arguments], goal, expected)
        for name, arguments, goal, expected in _GOALS
    ]
    code = ["-c", "import panoptic_assets.definitions"]
    works.append(("import panoptic_assets.definitions", code, _DEFINITIONS, 0))
    if given.only:
        works = [work for work in works if any(word in work[0] for word in given.only)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cpu_seconds(["-m", "panoptic_assets.cli", "demo"], folder, 0)
        dagster: list[float] = []
        taken: dict[str, list[float]] = {name: [] for name, *_ in works}
        for number in range(given.repeats + 1):
            names = ["3", "renamed"] if number % 2 == 0 else ["renamed", "3"]
            values = {"tag": names[0], "other": names[1], "number": str(number)}
            for name, command, _, expected in works:
                beside = cpu_seconds(["-c", "import dagster"], folder, 0)
                filled = [part.format(**values) for part in command]
                seconds = cpu_seconds(filled, folder, expected)
                if number:  # the first time compiles modules, and reads them from the disk
                    dagster.append(beside)
                    taken[name].append(seconds)
    against = statistics.median(dagster)
    print(f"{'import dagster':36} {against:7.2f} CPU s")
    for name, _, goal, _ in works:
        seconds = statistics.median(taken[name])
        ratio = seconds / against
        met = "" if ratio <= goal else "  not met"
        print(f"{name:36} {seconds:7.2f} CPU s  {ratio:5.2f}x  goal {goal:.2f}x{met}")


if __name__ == "__main__":
    main()
