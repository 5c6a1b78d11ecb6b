"""A folder that is asked at every call: what came or went is seen by the next one, however fast it was."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from indexes.folder_listing import FolderListing
from indexes.keys import keyring


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
def test_a_name_that_comes_or_goes_within_one_tick_of_the_clock_is_seen(
    tmp_path_factory: object, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")  # type: ignore[attr-defined]
    listing = FolderListing(folder)
    for name in steps:
        path = folder / name
        path.unlink() if path.exists() else path.touch()
        assert listing.names() == {one.name for one in folder.iterdir()}


def test_a_folder_that_did_not_change_for_a_while_is_not_listed_again(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.utime(tmp_path, (1, 1))
    listing = FolderListing(tmp_path)
    assert listing.names() is listing.names()
    (tmp_path / "b").touch()
    assert listing.names() == {"a", "b"}


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    listing = FolderListing(tmp_path / "later")
    assert listing.names() == frozenset()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a").touch()
    assert listing.names() == {"a"}


def test_a_key_that_another_process_retired_is_not_found_by_the_next_call(tmp_path: Path) -> None:
    ours, theirs = keyring(tmp_path, "tokens"), keyring(tmp_path, "tokens")
    old = ours.newest()
    os.utime(ours.folder, (1, 1))
    assert ours.find(old.id) is ours.find(old.id)
    theirs.rotate()
    assert ours.newest().id != old.id
    theirs.retire(old.id)
    assert ours.find(old.id) is None
