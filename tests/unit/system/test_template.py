"""Filling in ``${...}``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import PlanError
from harness.system.template import addresses, check, fill, names_in

VALUES = {**addresses({"agents": "127.0.0.1:1"}, {"bedrock": "127.0.0.1:2"}), "port": "3", "python": "/usr/bin/python"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain $HOME {x} $$", "plain $HOME {x} $$"),
        ("${port}", "3"),
        ("http://${upstreams.bedrock}/v1", "http://127.0.0.1:2/v1"),
        ("${services.agents},${services.agents}", "127.0.0.1:1,127.0.0.1:1"),
    ],
)
def test_fill(text: str, filled: str) -> None:
    assert fill(text, VALUES) == filled


def test_values_are_not_filled_again() -> None:
    assert fill("${port}", {"port": "${port}"}) == "${port}"


def test_an_unknown_name_is_named_with_the_nearest() -> None:
    with pytest.raises(PlanError) as caught:
        fill("http://${upstreams.bedrok}", VALUES, where="system.services.agents.env.X")
    text = str(caught.value)
    assert text.startswith(
        "system.services.agents.env.X: 'http://${upstreams.bedrok}': unknown name ${upstreams.bedrok}"
    )
    assert "did you mean 'upstreams.bedrock'?" in text
    assert "${services.agents}" in text


@pytest.mark.parametrize("text", ["${port", "a ${", "${}", "${por${port}"])
def test_a_place_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(PlanError):
        check(text, VALUES)


@given(st.text(alphabet="ab$ {}", max_size=12))
def test_text_without_places_stays_as_it_is(text: str) -> None:
    if "${" not in text:
        assert fill(text, {}) == text
        assert names_in(text) == []
