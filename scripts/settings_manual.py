"""Writes the table of settings in docs/operations/configuration.md from the settings classes: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr
from pydantic_settings import BaseSettings

from sandbank.api.settings import ApiSettings
from sandbank.cli.settings import NodeSettings
from sandbank.clickhouse.settings import ClickHouseSettings
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.discovery.settings import DiscoverySettings
from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.telemetry.settings import TelemetrySettings
from sandbank.template_manager.settings import TemplateSettings

PAGE = Path(__file__).parent.parent / "docs" / "operations" / "configuration.md"
BEGIN, END = "<!-- generated: make docs -->", "<!-- end of what is generated -->"
GROUPS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("The installation", NodeSettings),
    ("Templates", TemplateSettings),
    ("Orchestrator", OrchestratorSettings),
    ("API", ApiSettings),
    ("Finding nodes, by API and client proxy", DiscoverySettings),
    ("Client proxy", ClientProxySettings),
    ("Docker reverse proxy", DockerReverseProxySettings),
    ("Analytics", ClickHouseSettings),
    ("Telemetry", TelemetrySettings),
)


def render() -> str:
    """All settings, each once: under the first service that reads it."""
    seen: set[str] = set()
    lines = [BEGIN]
    for title, settings in GROUPS:
        lines += ["", f"### {title}", "", "| Variable | Default | Meaning |", "|---|---|---|"]
        for name, field in settings.model_fields.items():
            variable, *others = _variables(settings, name, field.validation_alias)
            if variable in seen:
                continue
            seen.add(variable)
            also = f" Also read as {', '.join(f'`{other}`' for other in others)}." if others else ""
            lines.append(f"| `{variable}` | {_default(field)} | {field.description}{also} |")
    return "\n".join([*lines, "", END])


def updated(page: str) -> str:
    """`page` with the present settings in it."""
    before, _, rest = page.partition(BEGIN)
    return before + render() + rest.partition(END)[2]


def _variables(settings: type[BaseSettings], name: str, alias: object) -> list[str]:
    prefix = str(settings.model_config.get("env_prefix", ""))
    if isinstance(alias, AliasChoices):
        return [choice for choice in map(str, alias.choices) if choice.isupper()]
    return [str(alias) if alias else (prefix + name).upper()]


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return "of the machine"
    value = field.default
    if value is None or value == "" or value == ():
        return "none"
    if isinstance(value, SecretStr):
        return "the well-known one" if value.get_secret_value() else "none"
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


if __name__ == "__main__":
    text = updated(PAGE.read_text())
    if "--check" in sys.argv and text != PAGE.read_text():
        sys.exit(f"{PAGE} does not show the present settings: run `make docs`")
    PAGE.write_text(text)
