"""The scopes that a run can be asked for: one Config class each.

Belongs here: each field's default, limits and meaning. Does not belong here: which images a scope
takes (``clustering.selection``), which loads the store's libraries: the command line's help need
not.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from panoptic_assets.corpus.values import MAX_NAME, tag_path
from panoptic_assets.spec.dates import asked_date, asked_days, period
from panoptic_assets.spec.fields import Name, OneLine, Parameters, Unquoted
from panoptic_assets.spec.keys import parse_node, parse_projection
from panoptic_assets.spec.languages import N_
from resources.errors import noted

NB_SIMILAR = 100
"""Images that a search gives if nothing is said. No similarity would do: texts and images of one
model have cosines of .2 to .3, of another one .5."""

_MAX_VALUES = 1000
_MOST_CORNERS = 500
_FARTHEST = 1e12
"""Of a corner, from the middle of a map: what is farther out only costs digits."""


def _date(text: str) -> str:
    period(text)
    return text


def _any_date(text: str) -> str:
    return asked_date(text)


def _in_order(since: str | None, until: str | None) -> None:
    if since and until and asked_days(until)[1] < asked_days(since)[0]:
        raise ValueError(
            noted(
                "until ({until}) lies before since ({since}): exchange them",
                until=until,
                since=since,
            )
        )


def _node(text: str) -> str:
    return str(parse_node(text))


def _projection(text: str) -> str:
    return "/".join(parse_projection(text))


def _corners(polygon: list[list[float]]) -> list[list[float]]:
    for corner in polygon:
        if len(corner) != 2 or not all(abs(place) <= _FARTHEST for place in corner):
            raise ValueError(
                noted(
                    "a corner is its two coordinates on the map, as in [0.5, -1.25], each "
                    "{farthest:g} at most",
                    farthest=_FARTHEST,
                )
            )
    return polygon


_Date = Annotated[Unquoted, AfterValidator(_date)]
_AnyDate = Annotated[Unquoted, AfterValidator(_any_date)]


class WholeCorpus(Parameters):
    """Every image that is present."""

    name: Literal["corpus"] = "corpus"


class FilesLike(Parameters):
    """The images with a file whose path matches a pattern."""

    name: Literal["files"] = "files"
    pattern: OneLine = Field(
        min_length=1,
        description="Shell pattern on the path below the images' folder, such as 'animals/*'; "
        "'*' also crosses folders.",
    )


class WithProperty(Parameters):
    """The images that have a value of a property of the inventory, or certain values."""

    # `name` says which scope it is, in every class of the union.
    name: Literal["property"] = "property"
    property: Name = Field(max_length=MAX_NAME, description="The property's name.")
    values: list[Annotated[Unquoted, Field(min_length=1, max_length=10_000)]] = Field(
        default_factory=list,
        max_length=_MAX_VALUES,
        description="Values, of which an image has one: a tag ('a > b') also takes what lies below "
        "it, 2024-03 all dates of that month, 1850 also what is about 1850 or uncertain (1850~, "
        "1850?), 'vers 1850' what means the same. Empty: any value.",
    )
    minimum: float | None = Field(
        default=None, allow_inf_nan=False, description="Of a number: the least value."
    )
    maximum: float | None = Field(
        default=None, allow_inf_nan=False, description="Of a number: the greatest value."
    )
    since: _AnyDate | None = Field(
        default=None,
        description="Of a date: the first day, month (2024-03), year (1850, -0449 for 450 BC), "
        "decade (185X) or century (18XX), or as cells have it (9 mars 1887, 450 av. J.-C.).",
    )
    until: _AnyDate | None = Field(
        default=None,
        description="Of a date: the last day, month, year, decade or century, all of it included.",
    )
    certainty: Literal["possibly", "certainly"] | None = Field(
        default=None,
        description="Of a date that is not known to the day: whether it may lie between since and "
        "until (possibly), or must, with all days that it may be (certainly). Empty: possibly.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        numbers = self.minimum is not None or self.maximum is not None
        dates = self.since is not None or self.until is not None
        if bool(self.values) + numbers + dates > 1:
            raise ValueError(
                N_("give values, or minimum and maximum, or since and until: one of them")
            )
        if self.certainty is not None and not dates:
            raise ValueError(N_("certainty is about since and until: give one of them"))
        if self.minimum is not None and self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(
                noted(
                    "maximum ({maximum:g}) is less than minimum ({minimum:g})",
                    maximum=self.maximum,
                    minimum=self.minimum,
                )
            )
        _in_order(self.since, self.until)
        return self


class WithTag(Parameters):
    """The images that carry a saved tag, or one below it."""

    name: Literal["tag"] = "tag"
    path: Annotated[Unquoted, AfterValidator(tag_path)] = Field(
        description="The tag with those above it, such as '9 > 1'."
    )
    property: Name = Field(
        default="Clustering", max_length=MAX_NAME, description="The property that has the tag."
    )


class TakenBetween(Parameters):
    """The images whose camera says that they were taken between two dates."""

    name: Literal["dates"] = "dates"
    since: _Date | None = Field(
        default=None,
        description="First day (2024-03-09), month (2024-03) or year, by the camera's clock.",
    )
    until: _Date | None = Field(
        default=None, description="Last day, month or year, all of it included."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.since is None and self.until is None:
            raise ValueError(N_("dates: give since, until, or both"))
        _in_order(self.since, self.until)
        return self


class Listed(Parameters):
    """The images that a text file lists."""

    name: Literal["ids"] = "ids"
    file: OneLine = Field(
        min_length=1,
        description="UTF-8 text file with one image id, or path below the images' folder, on each "
        "line; a relative path starts at the project's folder.",
    )


class _Search(Parameters):
    """How far a search goes; of the two limits, both are kept."""

    min_similarity: float | None = Field(
        default=None, ge=-1, le=1, description="Least cosine; empty: no limit."
    )
    nb_images: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Images at most, the most similar ones; empty: no limit, or "
        f"{NB_SIMILAR} if min_similarity is empty too.",
    )

    @model_validator(mode="before")
    @classmethod
    def _limited(cls, given: Any) -> Any:
        # Here, so that a record says it.
        if (
            isinstance(given, dict)
            and given.get("min_similarity") is given.get("nb_images") is None
        ):
            return given | {"nb_images": NB_SIMILAR}
        return given


class FoundByText(_Search):
    """The images that are most similar to a text, by the model of the run's vector type."""

    name: Literal["text"] = "text"
    text: Name = Field(max_length=2000, description="What to look for, in words.")


class SimilarTo(_Search):
    """The images that are most similar to one image, itself included, by the run's vectors."""

    name: Literal["similar"] = "similar"
    image: OneLine = Field(
        min_length=1,
        max_length=4096,
        description="The image's id, the first 8 or more characters of it, or the path of its "
        "file below the images' folder.",
    )


class InNode(Parameters):
    """The images of a cluster of another run."""

    name: Literal["node"] = "node"
    node: Annotated[str, AfterValidator(_node)] = Field(
        description="The cluster, such as 'greek/3' or 'greek/remainder'."
    )


class InRegion(Parameters):
    """The images in a region of a map: those whose points lie in a polygon."""

    name: Literal["region"] = "region"
    projection: Annotated[str, AfterValidator(_projection)] = Field(
        description="The map: a projection that has points, such as 'mini/umap'."
    )
    polygon: Annotated[list[list[float]], AfterValidator(_corners)] = Field(
        min_length=3,
        max_length=_MOST_CORNERS,
        description="Its corners in the order of its border, each as its two coordinates: "
        "[[0, 0], [4, 0], [4, 3]]. What the border goes around twice is outside.",
    )
