"""The Python face where it is mostly used: in a notebook, whose kernel has an event loop."""

from pathlib import Path

import dagster as dg
import nbformat
from nbclient import NotebookClient

from panoptic_assets.orchestration.instance import open_instance
from resources.project_folder import dagster_home, find

NOTEBOOK = Path(__file__).with_name("exploration.ipynb")


def shown(cell):
    """What the cell's last line gave; nothing else may be written below it."""
    [output] = cell.outputs
    assert output.output_type == "execute_result"
    return output.data["text/plain"]


def test_a_notebook_clusters_divides_saves_and_names(greek):
    """A18: the exploration, cell by cell; every act is a run of the project's instance."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = greek.project.folder
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert shown(cells[0]) == "(6, 253, ('subsamples', 2, 2))"
    assert shown(cells[1]).count("cahier/") == 6
    assert "Vases grecs" in shown(cells[2])
    assert "cahier was made with other parameters" in shown(cells[3])
    assert shown(cells[4]) == "[True, True]"
    with open_instance(dagster_home(find(folder))) as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        made = {next(iter(run.asset_selection)).to_user_string() for run in runs}
        assert made == {"clustering", "nested_clustering", "saved_clustering", "tags"}
        assert instance.get_runs_count() == len(runs)
