"""`GET /teams`: how the command line gets its API key (REST contract §16.1)."""

from __future__ import annotations

from dataclasses import dataclass

from sandbank.api.core.ports import Memberships
from sandbank.domain.credentials import new_api_key

_KEY_NAME = "CLI login/configure"
# Whoever asks again and again must not fill the table, and must not log out a machine whose key is in use: the two are counted apart.
_UNUSED_KEPT, _USED_KEPT = 10, 50


@dataclass(frozen=True, slots=True)
class TeamWithKey:
    """A team of the caller with a key made for this answer."""

    team_id: str
    name: str
    api_key: str
    is_default: bool


class TeamLister:
    """Lists a user's teams. Every call makes one new key per team: that is what the clients rely on.

    Of those that a user was given for a team, under the name they were made with, twice 10 unused and twice 50 used ones stay at most.
    """

    def __init__(self, memberships: Memberships) -> None:
        self._memberships = memberships

    async def list(self, user_id: str) -> list[TeamWithKey]:
        """The teams; the keys are stored when this returns."""
        teams = []
        for membership in await self._memberships.list_memberships(user_id):
            key = new_api_key()
            await self._memberships.add_api_key(membership.team_id, user_id, _KEY_NAME, key)
            await self._memberships.remove_surplus_keys(membership.team_id, user_id, _KEY_NAME, unused=_UNUSED_KEPT, used=_USED_KEPT)
            teams.append(TeamWithKey(membership.team_id, membership.team_name, key, membership.is_default))
        return teams
