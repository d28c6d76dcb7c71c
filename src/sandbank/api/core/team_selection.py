"""Which of a user's teams a request means (REST contract §3.5)."""

from __future__ import annotations

from sandbank.api.core.ports import Callers, Memberships
from sandbank.api.core.team import Team
from sandbank.domain.errors import DeniedError, InternalError, InvalidError, NotFoundError
from sandbank.domain.uuid_text import parse_uuid


def require_same_team(team: Team, team_id: str | None) -> None:
    """`InvalidError` if a `teamID` beside an API key names another team than the key's."""
    if team_id is not None and team_id.lower() != team.team_id:
        raise InvalidError("Team ID param mismatch with the API key")


class TeamSelector:
    """Picks the team for callers who are users, or operators."""

    def __init__(self, memberships: Memberships, callers: Callers) -> None:
        self._memberships = memberships
        self._callers = callers

    async def select(self, user_id: str, team_id: str | None) -> Team:
        """The team named, or else the user's default one; `DeniedError` if it is not theirs or they have none."""
        if team_id is not None:
            parsed = parse_uuid(team_id)
            return await self._member_team(user_id, "" if parsed is None else str(parsed))
        memberships = await self._memberships.list_memberships(user_id)
        if not memberships:
            raise DeniedError("You don't have access to any teams")
        default = next((membership for membership in memberships if membership.is_default), None)
        if default is None:
            raise InternalError("Default team not found")
        return await self._member_team(user_id, default.team_id)

    async def get(self, team_id: str) -> Team:
        """The team that an operator names, whoever its members are."""
        parsed = parse_uuid(team_id)
        team = None if parsed is None else await self._callers.find_team(str(parsed))
        if team is None:
            raise NotFoundError("Team not found")
        return team

    async def _member_team(self, user_id: str, team_id: str) -> Team:
        team = await self._callers.find_team_of_member(user_id, team_id) if team_id else None
        if team is None:
            raise DeniedError("You are not allowed to access this team")
        return team
