"""Finished projects that several files copy."""

import shutil

import pytest


@pytest.fixture(scope="session")
def told_folder(vectors_folder, once):
    """The same, whose run `greek` was divided, saved and reported by Dagster's runs."""

    def write(folder):
        from panoptic_assets.project import Project

        shutil.copytree(vectors_folder, folder, dirs_exist_ok=True)
        project = Project(folder / "project", author="Ada")
        project.cluster("greek", method={"kmeans": {"nb_clusters": 3}})
        project.divide("greek/0", method={"kmeans": {"nb_clusters": 2}})
        project.cluster("roman", method={"kmeans": {"nb_clusters": 2}})
        project.save("greek")
        project.report("greek")

    return once("undoable", write)


@pytest.fixture
def told_project(told_folder, tmp_path):
    """A copy of it, to do with as a test likes."""
    from panoptic_assets.project import Project

    shutil.copytree(told_folder, tmp_path / "told")
    return Project(tmp_path / "told" / "project", author="Ada")
