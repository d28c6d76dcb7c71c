"""The names of what is in Redis (contract templates-and-data §7). Everything of one team has one hash slot."""

from __future__ import annotations

TEAMS = "sandbox:storage:global:teams"
EXPIRATION = "sandbox:storage:global:expiration"
NOTIFY = "sandbox:storage:notify"
EVENTS = "sandbox.events.stream"


def record(team_id: str, sandbox_id: str) -> str:
    """The sandbox itself, JSON."""
    return f"sandbox:storage:{{{team_id}}}:sandboxes:{sandbox_id}"


def index(team_id: str) -> str:
    """The team's sandboxes, a set of IDs."""
    return f"sandbox:storage:{{{team_id}}}:index"


def pending(team_id: str) -> str:
    """Starts in flight, by the time they began."""
    return f"sandbox:storage:{{{team_id}}}:reservations:pending"


def transition(team_id: str, sandbox_id: str) -> str:
    """The change of state in progress."""
    return f"sandbox:storage:{{{team_id}}}:transition:{sandbox_id}"


def outcome(team_id: str, sandbox_id: str, transition_id: str) -> str:
    """How a change of state ended."""
    return f"{transition(team_id, sandbox_id)}:{transition_id}"


def lock(sandbox_id: str) -> str:
    """Who changes the sandbox at this moment. Without the team: a paused one has none here."""
    return f"lock:sandbox:storage:{sandbox_id}"


def webhooks(team_id: str) -> str:
    """There while the team has webhooks; written by who delivers them."""
    return f"wh:{team_id}"


def owner(sandbox_id: str) -> str:
    """Whose it is. Ours: clients name a sandbox without its team."""
    return f"sandbank:owner:{sandbox_id}"


def node(node_id: str) -> str:
    """What a node runs, a set of expiration members. Ours."""
    return f"sandbank:node:{node_id}"


def member(team_id: str, sandbox_id: str, execution_id: str) -> str:
    """One execution of a sandbox in the indexes of all teams."""
    return f"{team_id}:{sandbox_id}:{execution_id}"
