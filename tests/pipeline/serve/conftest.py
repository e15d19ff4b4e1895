"""A client of one project's API, and a project that has something of each kind to tell."""

import shutil

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.serve.api import API, ProjectApi
from resources.project_folder import find
from tests.workbench import bench_of


class Client(TestClient):
    """Asks one project's API by what stands behind its address."""

    def __init__(self, folder):
        self.api = ProjectApi(folder)
        self.at = API.format(corpus=find(folder).corpus)
        super().__init__(Starlette(routes=[Mount(API, self.api)]), raise_server_exceptions=False)

    def ask(self, path, **options):
        return self.get(f"{self.at}/{path}", **options)

    def tell(self, path, **parameters):
        answer = self.ask(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path, **parameters):
        """Status and id of a refusal, which says why on one line."""
        answer = self.ask(path, params=parameters)
        error = answer.json()["error"]
        assert error.keys() == {"id", "template", "values", "text"}
        assert len(error["text"].splitlines()) == 1
        return answer.status_code, error["id"]

    def post_act(self, name, body, **options):
        return self.post(f"{self.at}/acts/{name}", json=body, **options)

    def do(self, name, /, **body):
        """The result of an act that is done."""
        end = self.end(name, **body)
        assert end["state"] == "done", end
        return end["result"]

    def end(self, name, /, **body):
        """How an act ended that was accepted."""
        answer = self.post_act(name, body)
        assert answer.status_code == 202, answer.text
        self.get(answer.json()["events"])  # which is as long as the act
        return self.tell(f"acts/{answer.json()['act']}")


@pytest.fixture(scope="session")
def told_folder(clustered_folder, once):
    """The sample with a run that was divided, saved, edited and recommended for."""

    def write(folder):
        shutil.copytree(clustered_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("neighbors", "mini")
        bench.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 2}})
        bench.make("saved_clustering", "greek")
        bench.make("tags", edits=[{"rename": {"tag": "0", "to": "Vases grecs"}}])
        bench.make("tag_recommendations", include_tagged=True)

    return once("told", write)
