"""Who makes room when there are too many connections."""

from __future__ import annotations

from sandbank.envd.transport.connections import Connections


class Connection:
    """Only remembers that it was cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def test_the_one_that_waited_longest_makes_room() -> None:
    connections = Connections(limit=3)
    first, second, third, fourth, fifth = made = [Connection() for _ in range(5)]
    for one in made[:3]:
        connections.add(one)
    connections.set_idle(first, False)
    connections.add(fourth)
    connections.add(fifth)
    assert [one.is_cut for one in made] == [False, True, True, False, False]
    assert (second.is_cut, third.is_cut) == (True, True)


def test_without_an_idle_one_the_newcomer_is_cut() -> None:
    connections = Connections(limit=1)
    busy, newcomer, later = Connection(), Connection(), Connection()
    connections.add(busy)
    connections.set_idle(busy, False)
    connections.add(newcomer)
    assert (busy.is_cut, newcomer.is_cut) == (False, True)
    connections.discard(busy)
    connections.add(later)
    assert later.is_cut is False


def test_a_closed_connection_is_not_idle() -> None:
    connections = Connections(limit=1)
    gone, later = Connection(), Connection()
    connections.add(gone)
    connections.discard(gone)
    connections.set_idle(gone, True)
    connections.add(later)
    assert (gone.is_cut, later.is_cut) == (False, False)
