"""Certificates that the sandbox trusts besides its template's: the node's authority, where the node puts headers into its requests."""

from __future__ import annotations

from sandbank.envd import text_file
from sandbank.envd.state import AgentState

CA_FILE = "/usr/local/share/ca-certificates/e2b-ca.crt"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# For runtimes that bring certificates of their own, and for OpenSSL, which looks for hashed names instead. Users' own settings win.
VARIABLES = {"NODE_EXTRA_CA_CERTS": CA_FILE, "REQUESTS_CA_BUNDLE": CA_BUNDLE, "SSL_CERT_FILE": CA_BUNDLE}


def install(bundle: str, state: AgentState) -> None:
    """Keep the bundle where `update-ca-certificates` finds it, and let programs started from now on trust it (data-plane contract §4.8).

    `OSError` when the files cannot be written.
    """
    text = bundle.rstrip("\n") + "\n"
    text_file.write(CA_FILE, text)
    known = text_file.read(CA_BUNDLE)
    if text not in known:
        text_file.write(CA_BUNDLE, known + ("" if not known or known.endswith("\n") else "\n") + text)
    state.trust_environment.update(VARIABLES)
