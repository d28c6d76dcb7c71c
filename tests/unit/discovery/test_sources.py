"""Several sources of nodes together: an outage of one is none of the nodes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sandbank.discovery.settings import DiscoverySettings
from sandbank.discovery.sources import MergedSources, StaticNodes
from sandbank.domain.errors import InvalidError, UnavailableError


class Scripted:
    """Answers one thing after the other; None is an outage."""

    def __init__(self, name: str, answers: Sequence[Sequence[str] | None]) -> None:
        self.name = name
        self.answers = list(answers)
        self.closed = False

    async def list(self) -> Sequence[str]:
        answer = self.answers.pop(0)
        if answer is None:
            raise UnavailableError("away")
        return answer

    async def close(self) -> None:
        self.closed = True


async def test_what_a_source_said_last_counts_while_it_is_away_and_that_is_said_once() -> None:
    said: list[str] = []
    dns = Scripted("dns", [["b:1", "a:1"], None, None, ["b:1"], None])
    merged = MergedSources([StaticNodes(["a:1"]), dns], lambda what, error: said.append(f"{what}: {error}"))
    assert [await merged.list() for _ in range(5)] == [["a:1", "b:1"]] * 5
    assert said == ["discovery by dns: away"] * 2
    await merged.close()
    assert dns.closed


async def test_nothing_is_known_before_any_has_answered() -> None:
    merged = MergedSources([Scripted("dns", [None])], lambda what, error: None)
    with pytest.raises(UnavailableError, match="no source of nodes has answered yet"):
        await merged.list()
    assert await MergedSources([StaticNodes([])], lambda what, error: None).list() == []


_addresses = some.lists(some.sampled_from(["a:1", "b:1", "c:1", "d:1"]))


@given(some.lists(some.tuples(some.one_of(some.none(), _addresses), some.one_of(some.none(), _addresses)), min_size=1, max_size=8))
async def test_every_answer_has_each_sources_latest_once(rounds: list[tuple[list[str] | None, list[str] | None]]) -> None:
    sources = [Scripted("one", [pair[0] for pair in rounds]), Scripted("two", [pair[1] for pair in rounds])]
    merged = MergedSources(sources, lambda what, error: None)
    latest: list[list[str] | None] = [None, None]
    for pair in rounds:
        latest = [new if new is not None else old for new, old in zip(pair, latest, strict=True)]
        if latest == [None, None]:
            with pytest.raises(UnavailableError):
                await merged.list()
        else:
            found = await merged.list()
            assert set(found) == {address for answer in latest for address in answer or ()}
            assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("static", ("static",)),
        ("local", ("static",)),
        ("DNS", ("dns",)),
        ("K8S-PODS, STATIC", ("kubernetes", "static")),
        ("nomad,nomad", ("nomad",)),
    ],
)
def test_ways_to_find_nodes_by_the_names_that_others_use(monkeypatch: pytest.MonkeyPatch, text: str, names: tuple[str, ...]) -> None:
    monkeypatch.setenv("SD_ORCHESTRATOR_PROVIDER", text)
    assert DiscoverySettings().discovery == names


def test_what_cannot_work_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ValueError, match="'smoke' is no way to find nodes; known: static, dns, kubernetes, nomad"):
        DiscoverySettings(discovery=("smoke",))
    for way, missing in (("dns", "SANDBANK_DISCOVERY_DNS_NAME"), ("kubernetes", "SANDBANK_DISCOVERY_KUBERNETES_URL")):
        with pytest.raises(InvalidError, match=missing):
            DiscoverySettings(discovery=(way,)).sources([], lambda what, error: None)
