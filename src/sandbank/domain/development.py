"""The well-known credentials of local development (REST contract §21).

They are printed in E2B's documentation and in its tools, hence no secret at all: good on loopback, refused everywhere else.
"""

from __future__ import annotations

from typing import Final

from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential

USER_ID: Final = "fb69f46f-eb51-4a87-a14e-306f7a3fd89c"
TEAM_ID: Final = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"
TEAM_NAME: Final = "local-dev team"
TEAM_SLUG: Final = "local-dev-team"
TEAM_EMAIL: Final = "team@e2b-dev.local"
CREDENTIAL_NAME: Final = "local dev seed token"
API_KEY: Final = "e2b_53ae1fed82754c17ad8077fbc8bcdd90"
ACCESS_TOKEN: Final = "sk_e2b_89215020937a4c989cde33d7bc647715"  # noqa: S105  # published by E2B
ACCESS_TOKEN_ID: Final = "3d98c426-d348-446b-bdf6-5be3ca4123e2"  # noqa: S105  # a row's ID
TOKEN_SEED: Final = "--sandbox-access-token-hash-seed--"  # noqa: S105  # published by E2B
OIDC_ISSUER: Final = "http://localhost:4444/"
OIDC_SUBJECT: Final = "local-dev-user"
SYSTEM_USER_ID: Final = "00000000-0000-0000-0000-000000000000"

CREDENTIAL_HASHES: Final = frozenset({hash_credential(API_KEY, API_KEY_PREFIX), hash_credential(ACCESS_TOKEN, ACCESS_TOKEN_PREFIX)})
