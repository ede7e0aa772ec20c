"""The event: what a tracker sees of a hook."""

from __future__ import annotations

import pytest

from trackhooks.event import Event, File, RunInfo


def test_nothing_is_shared_between_two_events() -> None:
    for made in (
        lambda: Event("log", 0, 0.0),
        lambda: RunInfo("id", "name"),
        lambda: File("/x", "model", "x"),
    ):
        first, second = made(), made()
        for name in first.__struct_fields__:
            value = getattr(first, name)
            assert not isinstance(value, (dict, list)) or value is not getattr(second, name)


def test_using_the_live_object_of_an_event_is_an_error_with_a_remedy() -> None:
    event = Event("on_train_end", 0, 0.0)
    with pytest.raises(
        AttributeError, match=r"gets 'on_train_end' from the journal.* run\.add_callback\('on_train_end'"
    ):
        _ = event.source
    assert not hasattr(event, "source")
