"""By what a map is coloured: dates of the inventory in their order."""

import pyarrow as pa

from panoptic_assets.corpus.properties import write_properties
from panoptic_assets.review.image_colours import by_properties
from panoptic_assets.spec.languages import language
from panoptic_assets.spec.written_dates import read_date
from resources.lance import LanceStore
from resources.schemas import SCHEMAS


def test_dates_are_coloured_by_their_year_or_as_they_are_written_the_earliest_first(tmp_path):
    """E7."""
    written = [
        *("1887-03-09", "vers 1850", "450 av. J.-C.", "mars 1887", "avant 1700", "XIXe siècle"),
        *("19e siècle", "19e siècle", "842"),
    ]
    dates = [read_date(text) for text in written]
    rows = [
        {
            "image_id": f"i{place}",
            "property": "made",
            "type": "date",
            "text": date.text,
            "edtf": date.edtf,
            "first_day": date.first_day,
            "last_day": date.last_day,
        }
        for place, date in enumerate(dates)
    ]
    store = LanceStore(uri=str(tmp_path / "store"))
    write_properties(store, pa.Table.from_pylist(rows, SCHEMAS["property_values"]))
    [found] = by_properties(store, [f"i{place}" for place in range(10)], language("en"))
    assert list(found.values) == [
        *("1887", "vers 1850", "450 av. J.-C.", "1887", "avant 1700", "19e siècle"),
        *("19e siècle", "19e siècle", "842", "(no value)"),
    ]
    assert found.order == [
        *("avant 1700", "450 av. J.-C.", "842", "19e siècle", "vers 1850", "1887"),
    ]
