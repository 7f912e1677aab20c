"""What a network's outputs mean: which words it may have, and how files say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tandem_hw.errors import DataError, NetworkError
from tandem_hw.network.output_meaning import NAMES_BYTES_MAX, OutputMeaning, class_order
from tests.helpers.recordings import small_network

ANIMALS = OutputMeaning("classification", ("cat", "dog", "Bär \x1b[31m\0"))
MEANINGS = [OutputMeaning("regression"), OutputMeaning("classification"), ANIMALS]


@pytest.mark.parametrize("meaning", MEANINGS)
def test_it_comes_back_from_plain_data_and_from_the_attributes_of_a_file(
    meaning: OutputMeaning,
) -> None:
    assert OutputMeaning.from_dict(meaning.to_dict()) == meaning
    attributes = meaning.to_attributes()
    assert all(isinstance(text, str) and text.isprintable() for text in attributes.values())
    assert OutputMeaning.from_attributes(attributes | {"num_steps": 3}) == meaning
    assert ("class_names" in attributes) == bool(meaning.class_names)


def test_a_file_that_says_nothing_gives_none() -> None:
    assert OutputMeaning.from_attributes({"num_steps": 3}) is None


@pytest.mark.parametrize(
    ("objective", "names", "message"),
    [
        ("guessing", (), "objective is 'guessing'; allowed are classification, regression, reco"),
        (3, (), "objective is 3; allowed are"),
        ("regression", ("a",), "a regression has no classes; leave class_names away"),
        ("classification", "ab", "class_names are 'ab'; give a tuple of texts"),
        ("classification", ("a", ""), "the name of class 1 is ''; give a text"),
        ("classification", ("a", 3), "the name of class 1 is 3; give a text"),
        ("classification", ("a", "b", "a"), "2 classes are called 'a'; give one each"),
        ("classification", ("\ud800",), "the name of a class is no text"),
        ("classification", ("x" * NAMES_BYTES_MAX,), "take 60004 bytes; at most 60000 are kept"),
    ],
)
def test_words_that_mean_nothing_are_refused(objective: Any, names: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        OutputMeaning(objective, names)


@pytest.mark.parametrize(
    "content", [None, 3, [], {}, {"class_names": []}, {"objective": "regression", "x": 1}]
)
def test_plain_data_of_another_form_are_refused(content: Any) -> None:
    with pytest.raises(NetworkError, match="its meaning is no objective with the names of classes"):
        OutputMeaning.from_dict(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "regression"}, "objective, class_names, meaning_digest do not match"),
        ({"objective": 3}, "do not match each other"),
        ({"class_names": '["cat","dog","fox"]'}, "do not match each other"),
        ({"class_names": None}, "do not match each other"),
        ({"meaning_digest": "0"}, "do not match each other"),
        ({"objective": None, "class_names": None}, "meaning_digest do not match each other"),
        ({"meaning_digest": None}, "do not match each other"),
    ],
)
def test_attributes_that_were_changed_are_refused(changes: dict[str, Any], message: str) -> None:
    attributes = {**ANIMALS.to_attributes(), **changes}
    present = {name: value for name, value in attributes.items() if value is not None}
    with pytest.raises(NetworkError, match=message):
        OutputMeaning.from_attributes(present)


@pytest.mark.parametrize(
    ("names", "message"),
    [("[", "class_names are no list of texts"), ("[" * 100_000, "no list of texts"), ("{}", "are"),
     ('["a", 3]', "the name of class 1 is 3")],
)  # fmt: skip
def test_names_that_are_no_list_are_refused(
    monkeypatch: pytest.MonkeyPatch, names: str, message: str
) -> None:
    monkeypatch.setattr("tandem_hw.network.output_meaning._as_json", lambda _: names)
    whole = OutputMeaning.__new__(OutputMeaning)
    object.__setattr__(whole, "objective", "classification")
    object.__setattr__(whole, "class_names", ("a",))
    attributes = whole.to_attributes()
    with pytest.raises(NetworkError, match=message):
        OutputMeaning.from_attributes(attributes)


def test_a_network_has_as_many_names_as_outputs_at_most() -> None:
    network = small_network()
    assert network.outputs == 3
    meant = replace(network, meaning=ANIMALS)
    assert (meant.meaning, meant.digest) == (ANIMALS, network.digest)
    assert [ANIMALS.name_of(label) for label in (1, 3)] == ["dog", "3"]
    with pytest.raises(NetworkError, match="4 classes have names, and the network 3 outputs"):
        replace(network, meaning=OutputMeaning("classification", tuple("abcd")))


def test_classes_are_numbered_by_their_names() -> None:
    wanted = ("cat", "dog", "fox")
    assert class_order(("fox", "cat"), wanted, "d") == [2, 0]
    message = "^d: has the class 'cow', and the network was trained for cat, dog, fox; give data"
    with pytest.raises(DataError, match=message):
        class_order(("fox", "cow"), wanted, "d")
    with pytest.raises(DataError, match="trained for 0, 1, 2, 3, 4, 5, 6, 7 and 92 more; "):
        class_order(("fox",), tuple(map(str, range(100))), "d")
