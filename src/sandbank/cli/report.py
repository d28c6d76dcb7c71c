"""What `sandbank up` prints in the end: a greeting, and lines to paste."""

from __future__ import annotations

from sandbank.cli.credentials import Credentials, CredentialsFile
from sandbank.cli.greeting import Greeting
from sandbank.cli.settings import NodeSettings
from sandbank.cli.tls import planned_tls


def ready_text(settings: NodeSettings, credentials: Credentials, greeting: Greeting, *, show_keys: bool) -> str:
    """Everything a new user needs next. Generated keys are shown once, at the start that made them; later only where they are kept."""
    kept_in = CredentialsFile(settings.data_dir).path
    shell_key = credentials.api_key if show_keys else f'"$(jq -r .api_key {kept_in})"'
    lines = [
        "",
        f"  {greeting.text}",
        f"  Created in {greeting.create_ms:.0f} ms, first command done after {greeting.command_ms:.0f} ms.",
        "",
        f"  API            {settings.api_url}",
        f"  Sandboxes      {settings.sandbox_url}",
        f"  By name        {settings.public_domain.api_url}, https://<port>-<sandboxID>.{settings.public_domain}",
        f"  docker push    {settings.image_prefix}/<templateID>:<buildID>",
    ]
    if show_keys:
        lines += [f"  API key        {credentials.api_key}", f"  Access token   {credentials.access_token}"]
    if settings.is_exposed:
        lines += ["", f"  The keys were generated for this installation and are kept in {kept_in}, for root only."]
    return "\n".join([*lines, "", *_lines_to_paste(settings, shell_key)])


def _lines_to_paste(settings: NodeSettings, shell_key: str) -> list[str]:
    tls = planned_tls(settings)
    trust = []
    if tls.authority is not None and tls.domain.port == settings.client_proxy_port:  # else a balancer shows a certificate of its own
        trust = [
            f"export SSL_CERT_FILE={tls.authority.bundle}   # Python",
            f"export NODE_EXTRA_CA_CERTS={tls.authority.certificate}   # JavaScript and the e2b CLI",
        ]
    return [
        "# by address",
        f"export E2B_API_KEY={shell_key}",
        f"export E2B_API_URL={settings.api_url}",
        f"export E2B_SANDBOX_URL={settings.sandbox_url}",
        "",
        "# or by name, over TLS: sandboxes have addresses for browsers, too",
        f"export E2B_API_KEY={shell_key}",
        f"export E2B_DOMAIN={tls.domain}",
        *trust,
        "",
        "# pip install e2b",
        "from e2b import Sandbox",
        "",
        "sandbox = Sandbox.create()",
        'print(sandbox.commands.run("uname -sr && whoami").stdout)',
        "sandbox.kill()",
    ]
