"""Effects: what a save that nobody watches does to the tags that people see.

Belongs here: counting it, saying it in a line, and whether it is so much that a person must be
asked. Does not belong here: what becomes of which tag (``tags.carry_over``).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from panoptic_assets.corpus.absence import Limits
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.text import counted
from resources.errors import InputError


@dataclass(frozen=True)
class Effect:
    """What an event of the tag log does to one property."""

    nb_tags: int
    """There were before; of an image that is missing from the corpus nothing is counted."""
    nb_gone: int
    nb_new: int
    nb_images: int
    """Images that had a tag before."""
    nb_moved: int
    """Images that have another tag than before."""
    nb_bare: int
    """Images that have none any more."""
    nb_tagged: int
    """Images that had none."""

    @property
    def said(self) -> str:
        """In a few words, such as ``2 tags went, 13 images moved``; empty where nothing is seen."""
        parts = [
            (self.nb_gone, "tag", "went"),
            (self.nb_new, "tag", "came"),
            (self.nb_moved, "image", "moved"),
            (self.nb_bare, "image", "lost its tag" if self.nb_bare == 1 else "lost their tags"),
            (self.nb_tagged, "image", "got a tag"),
        ]
        return ", ".join(f"{counted(count, noun)} {did}" for count, noun, did in parts if count)


NO_EFFECT = Effect(0, 0, 0, 0, 0, 0, 0)


def effect_of(events: Sequence[tag_log.Event], event: tag_log.Event, present: Set[str]) -> Effect:
    """What an event does.

    Args:
        events: The tag log before it.
        event: The event.
        present: Ids of the images that are there.
    """
    before, after = (_seen(part, event.property, present) for part in (events, [*events, event]))
    had, has = _by_image(before), _by_image(after)
    return Effect(
        nb_tags=len(before),
        nb_gone=len(before.keys() - after.keys()),
        nb_new=len(after.keys() - before.keys()),
        nb_images=len(had),
        nb_moved=sum(image in has and has[image] != tags for image, tags in had.items()),
        nb_bare=len(had.keys() - has.keys()),
        nb_tagged=len(has.keys() - had.keys()),
    )


def check_unasked(effect: Effect, limits: Limits) -> None:
    """Refuse what a person must be asked about first.

    Images that get another tag lose nothing: that is what clustering again is for.

    Args:
        effect: What would be done.
        limits: How much of it may be done unasked.

    Raises:
        InputError: It takes away too many of the tags, or leaves too many images without one.
    """
    if limits.ask(effect.nb_gone, effect.nb_tags) or limits.ask(effect.nb_bare, effect.nb_images):
        raise InputError(
            "{gone:,} of its {tags:,} tags would go, and {bare:,} of the {images:,} images that "
            "have one would have none any more: more than `max_missing` of .panoptic/project.yaml "
            "allows unasked.",
            id="save-takes-much",
            gone=effect.nb_gone,
            tags=effect.nb_tags,
            bare=effect.nb_bare,
            images=effect.nb_images,
        )


def _seen(
    events: Sequence[tag_log.Event], property_name: str, present: Set[str]
) -> dict[str, set[str]]:
    """The tags of a property with their images that are there.

    A tag that lost all its images is not seen, unless it never had one.
    """
    state = tag_log.replayed(events)
    found = {}
    for tag in state.tags.values():
        own = state.members[tag.tag_id].keys()
        if tag.property == property_name and (not own or own & present):
            found[tag.tag_id] = own & present
    return found


def _by_image(seen: Mapping[str, Set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for tag_id, image_ids in seen.items():
        for image_id in image_ids:
            found[image_id].add(tag_id)
    return found
