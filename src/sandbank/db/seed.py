"""The rows that an installation starts with. Every function is idempotent; the schema must be up to date (`sandbank.db.schema.upgrade`)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.db.base import Base, utc_now
from sandbank.db.models_accounts import AccessToken, Team, TeamApiKey, Tier, User, UserIdentity, UserTeam
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild, EnvBuildAssignment, EnvDefault
from sandbank.domain import development
from sandbank.domain.credentials import (
    ACCESS_TOKEN_PREFIX,
    API_KEY_PREFIX,
    hash_credential,
    mask_credential,
    new_access_token,
    new_api_key,
)
from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.domain.identifiers import new_template_id
from sandbank.domain.template_reference import DEFAULT_TAG

BASE_ALIAS = "base"
_BASE_DESCRIPTION = "Debian with Python and the usual tools"

_TEAM_ID = uuid.UUID(development.TEAM_ID)
_USER_ID = uuid.UUID(development.USER_ID)
_LOCAL_TIER = "local_v1"
_GENERATED_NAME = "generated at first start"


@dataclass(frozen=True, slots=True)
class GeneratedCredentials:
    """The credentials of an exposed installation. Only their hashes are stored: whoever asked for them keeps them."""

    api_key: str
    access_token: str
    team_id: str


def _tiers() -> list[Tier]:
    return [
        # E2B's smallest plan, number by number.
        Tier(
            id="base_v1",
            name="Base tier",
            concurrent_instances=20,
            max_length_hours=1,
            default_free_disk_size_mb=512,
            max_disk_size_mb=25600,
        ),
        # One's own machine is not a plan: the machine is the limit, and these only stop what cannot be meant.
        Tier(
            id=_LOCAL_TIER,
            name="Local",
            disk_mb=10240,
            concurrent_instances=10_000,
            max_length_hours=24,
            max_vcpu=64,
            max_ram_mb=262_144,
            default_free_disk_size_mb=10240,
            max_disk_size_mb=1_048_576,
        ),
    ]


async def _add_missing(session: AsyncSession, model: type[Base], key: object, row: Base) -> None:
    if await session.get(model, key) is None:
        session.add(row)
        await session.flush()


async def _ensure_owner(session: AsyncSession) -> None:
    for tier in _tiers():
        await _add_missing(session, Tier, tier.id, tier)
    for user_id in (uuid.UUID(development.SYSTEM_USER_ID), _USER_ID):
        await _add_missing(session, User, user_id, User(id=user_id))
    team = Team(
        id=_TEAM_ID,
        name=development.TEAM_NAME,
        slug=development.TEAM_SLUG,
        email=development.TEAM_EMAIL,
        tier=_LOCAL_TIER,
    )
    await _add_missing(session, Team, _TEAM_ID, team)
    member = select(UserTeam).where(UserTeam.team_id == _TEAM_ID, UserTeam.user_id == _USER_ID)
    if (await session.scalars(member)).first() is None:
        session.add(UserTeam(user_id=_USER_ID, team_id=_TEAM_ID, is_default=True))


def api_key_row(raw: str, team_id: uuid.UUID, name: str, created_by: uuid.UUID | None) -> TeamApiKey:
    """The row for a raw API key; `InvalidError` if it has not the shape of one."""
    digest = hash_credential(raw, API_KEY_PREFIX)
    if digest is None:
        raise InvalidError("Invalid API key format")
    mask = mask_credential(raw, API_KEY_PREFIX)
    return TeamApiKey(
        team_id=team_id,
        name=name,
        created_by=created_by,
        api_key_hash=digest,
        api_key_prefix=mask.prefix,
        api_key_length=mask.length,
        api_key_mask_prefix=mask.first,
        api_key_mask_suffix=mask.last,
    )


def access_token_row(raw: str, user_id: uuid.UUID, name: str, row_id: uuid.UUID | None = None) -> AccessToken:
    """The row for a raw access token; `InvalidError` if it has not the shape of one."""
    digest = hash_credential(raw, ACCESS_TOKEN_PREFIX)
    if digest is None:
        raise InvalidError("Invalid access token format")
    mask = mask_credential(raw, ACCESS_TOKEN_PREFIX)
    return AccessToken(
        id=row_id or uuid.uuid4(),
        user_id=user_id,
        name=name,
        access_token_hash=digest,
        access_token_prefix=mask.prefix,
        access_token_length=mask.length,
        access_token_mask_prefix=mask.first,
        access_token_mask_suffix=mask.last,
    )


async def seed_local_development(sessions: async_sessionmaker[AsyncSession]) -> None:
    """Make the well-known user, team, API key and access token exist. For loopback only: everybody knows them."""
    key = api_key_row(development.API_KEY, _TEAM_ID, development.CREDENTIAL_NAME, _USER_ID)
    token_id = uuid.UUID(development.ACCESS_TOKEN_ID)
    token = access_token_row(development.ACCESS_TOKEN, _USER_ID, development.CREDENTIAL_NAME, token_id)
    async with sessions.begin() as session:
        await _ensure_owner(session)
        if (await session.scalars(select(TeamApiKey.id).where(TeamApiKey.api_key_hash == key.api_key_hash))).first() is None:
            session.add(key)
        await _add_missing(session, AccessToken, token_id, token)
        if (await session.scalars(select(UserIdentity).where(UserIdentity.user_id == _USER_ID))).first() is None:
            identity = UserIdentity(oidc_iss=development.OIDC_ISSUER, oidc_sub=development.OIDC_SUBJECT, user_id=_USER_ID)
            await _add_missing(session, UserIdentity, (development.OIDC_ISSUER, development.OIDC_SUBJECT), identity)


async def seed_generated(sessions: async_sessionmaker[AsyncSession]) -> GeneratedCredentials:
    """Make the owner exist with fresh random credentials; the well-known ones, and those an earlier call made, stop working.

    Call it once and keep what it returns: nothing but hashes is stored.
    """
    credentials = GeneratedCredentials(new_api_key(), new_access_token(), development.TEAM_ID)
    stale = (development.CREDENTIAL_NAME, _GENERATED_NAME)
    async with sessions.begin() as session:
        await _ensure_owner(session)
        await session.execute(delete(TeamApiKey).where(TeamApiKey.team_id == _TEAM_ID, TeamApiKey.name.in_(stale)))
        await session.execute(delete(AccessToken).where(AccessToken.user_id == _USER_ID, AccessToken.name.in_(stale)))
        known = (UserIdentity.oidc_iss == development.OIDC_ISSUER, UserIdentity.oidc_sub == development.OIDC_SUBJECT)
        await session.execute(delete(UserIdentity).where(*known))
        # Whatever they are called by now.
        await session.execute(delete(TeamApiKey).where(TeamApiKey.api_key_hash.in_(development.CREDENTIAL_HASHES)))
        await session.execute(delete(AccessToken).where(AccessToken.access_token_hash.in_(development.CREDENTIAL_HASHES)))
        session.add(api_key_row(credentials.api_key, _TEAM_ID, _GENERATED_NAME, _USER_ID))
        session.add(access_token_row(credentials.access_token, _USER_ID, _GENERATED_NAME))
    return credentials


async def register_base_template(
    sessions: async_sessionmaker[AsyncSession],
    build_id: str,
    vcpu: int,
    ram_mb: int,
    total_disk_size_mb: int,
    envd_version: str,
) -> None:
    """Make the public alias `base` stand for this build, which is on disk already. Sizes in MiB; the owner must have been seeded.

    A build registered before is updated in place; a new one becomes what the default tag points at.
    """
    build_uuid = uuid.UUID(build_id)
    async with sessions.begin() as session:
        if await session.get(Team, _TEAM_ID) is None:
            raise NotFoundError("the base template needs an owner: seed the installation first")
        template_id = await _ensure_default_env(session, BASE_ALIAS, _BASE_DESCRIPTION)
        build = await session.get(EnvBuild, build_uuid)
        if build is None:
            build = EnvBuild(id=build_uuid, firecracker_version="", kernel_version="", free_disk_size_mb=0, vcpu=vcpu, ram_mb=ram_mb)
            session.add(build)
        build.vcpu, build.ram_mb, build.total_disk_size_mb = vcpu, ram_mb, total_disk_size_mb
        build.free_disk_size_mb = total_disk_size_mb
        build.envd_version, build.env_id, build.team_id = envd_version, template_id, _TEAM_ID
        build.status, build.updated_at = "uploaded", utc_now()
        build.finished_at = build.finished_at or build.updated_at
        await session.flush()
        newest = (
            select(EnvBuildAssignment.build_id)
            .where(EnvBuildAssignment.env_id == template_id, EnvBuildAssignment.tag == DEFAULT_TAG)
            .order_by(EnvBuildAssignment.created_at.desc(), EnvBuildAssignment.build_id.desc())
            .limit(1)
        )
        if await session.scalar(newest) != build_uuid:
            session.add(EnvBuildAssignment(env_id=template_id, build_id=build_uuid, tag=DEFAULT_TAG))


async def ensure_default_template(sessions: async_sessionmaker[AsyncSession], alias: str, description: str | None) -> str:
    """Make a public template of the owner's exist that everybody can call `alias`, built or not, and offer it; its ID.

    A name that another team has let everybody say becomes the installation's. The owner must have been seeded.
    """
    async with sessions.begin() as session:
        if await session.get(Team, _TEAM_ID) is None:
            raise NotFoundError("a default template needs an owner: seed the installation first")
        return await _ensure_default_env(session, alias, description)


async def _ensure_default_env(session: AsyncSession, alias: str, description: str | None) -> str:
    named = (await session.scalars(select(EnvAlias).where(EnvAlias.alias == alias, EnvAlias.namespace.is_(None)))).first()
    env = None if named is None else await session.get(Env, named.env_id)
    if env is None or env.team_id != _TEAM_ID or env.deleted_at is not None:
        if named is not None:
            await session.delete(named)
        env = Env(id=new_template_id(), public=True, team_id=_TEAM_ID, created_by=_USER_ID, build_count=0)
        session.add(env)
        await session.flush()
        session.add(EnvAlias(alias=alias, namespace=None, env_id=env.id, is_renamable=False))
    env.public = True
    default = await session.get(EnvDefault, env.id)
    if default is None:
        session.add(EnvDefault(env_id=env.id, description=description))
    elif description is not None:
        default.description = description
    return env.id
