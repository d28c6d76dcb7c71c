"""`sandbank up`: from a bare machine to a greeting out of a sandbox.

The services are imported by the process that runs them, and by no other: that takes longer than all the rest of a warm start.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys

from sandbank.cli import greeting, names, packages, preflight
from sandbank.cli.console import Progress, complain, say
from sandbank.cli.credentials import Credentials, CredentialsFile
from sandbank.cli.handover import Handover, last_lines
from sandbank.cli.installation import Installation
from sandbank.cli.report import ready_text
from sandbank.cli.settings import NodeSettings
from sandbank.cli.tls import planned_tls
from sandbank.domain.errors import ConflictError, InternalError, SandbankError
from sandbank.template_manager.settings import TemplateSettings
from sandbank.template_manager.wiring import BASE_IMAGE, build_images
from sandbank.version import ENVD_VERSION


def up(settings: NodeSettings, *, detach: bool) -> None:
    """Prepare, start, greet; in the foreground until a signal, or return when ready. Raises domain errors with one line for the operator.

    An installation that runs already is left alone: said so, and fine when it was to run in the background anyway.
    """
    progress = Progress()
    preflight.require_root()
    preflight.require_kernel()
    installation = Installation(settings)
    installation.make_directories()
    if not installation.try_lock():
        _already_running(installation, detach=detach)
        return
    try:
        had_keys = CredentialsFile(settings.data_dir).find() is not None
        revision = prepare(settings, progress)
        progress("starting the services")
        if detach:
            credentials = _start_detached(installation, revision)
            _greet(settings, credentials, show_keys=not (settings.is_exposed and had_keys))
        else:
            _run_here(installation, revision, show_keys=not (settings.is_exposed and had_keys))
    finally:
        installation.unlock()


def prepare(settings: NodeSettings, progress: Progress) -> str:
    """All that can fail before a service starts: ports, certificate, packages, disk space, what the base template is made of.

    The answer names the latter.
    """
    preflight.require_ports(settings)
    preflight.require_certificate(settings)
    preflight.require_space(settings.data_dir, preflight.NEEDED_MIB)
    if missing := packages.missing_packages():
        packages.install_packages(missing, progress)
    _prepare_tls(settings, progress)
    images = build_images(settings.artifacts_dir, TemplateSettings())
    is_made = images.is_made(BASE_IMAGE)
    if not is_made:
        preflight.require_space(settings.data_dir, preflight.NEEDED_TO_BUILD_MIB)
        progress("getting what the base template is made of: only this once, a minute or so")
    asyncio.run(images.get(BASE_IMAGE, None, force=False, log=lambda line: None if is_made else progress(f"  {line}")))
    return f"{images.version}-{ENVD_VERSION}"


def prepare_alone(settings: NodeSettings) -> None:
    """The same, and nothing more: for an image of a machine, or while something else is fetched. Nothing to do where services run."""
    preflight.require_root()
    preflight.require_kernel()
    installation = Installation(settings)
    installation.make_directories()
    if installation.try_lock():
        try:
            prepare(settings, Progress())
        finally:
            installation.unlock()


def _prepare_tls(settings: NodeSettings, progress: Progress) -> None:
    """The local CA, and names that lead here: what is wrong with names is said, and stops nobody who uses URLs."""
    tls = planned_tls(settings)
    if tls.authority is not None:
        try:
            is_new = tls.authority.prepare()
        except OSError as error:
            raise InternalError(f"the local CA in {settings.local_ca_dir} cannot be written: {error.strerror}") from error
        if is_new:
            progress(f"made a local CA for {tls.domain.name}: {tls.authority.certificate}")
    if problem := names.prepare_names(tls.domain, settings.data_dir / "tls" / "names-tried", progress):
        progress(f"note: {problem}")


def serve_detached(revision: str, lock: int, pipe: int) -> None:
    """The process that `up --detach` leaves behind: it holds the lock from its first instruction and reports through `pipe`."""
    gc.disable()  # all that imports make stays: looking through it again and again takes a sixth of their time
    from sandbank.cli.serve import serve

    gc.enable()

    settings = NodeSettings()
    installation = Installation(settings).adopt_lock(lock)
    os.set_inheritable(pipe, False)
    reported = False

    def ready(credentials: Credentials) -> None:
        nonlocal reported
        reported = True
        Handover(credentials=credentials).write(pipe)

    try:
        serve(installation, revision, ready)
    except SandbankError as error:
        if reported:
            complain(error.message)
        else:
            Handover(error=error.message).write(pipe)
        sys.exit(1)


def _start_detached(installation: Installation, revision: str) -> Credentials:
    settings = installation.settings
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "sandbank.cli.main", "serve-detached", revision]
    command += [str(installation.lock_descriptor), str(writing)]
    with settings.log_file.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, **_environment(settings)},
            pass_fds=(installation.lock_descriptor, writing),
            start_new_session=True,  # no terminal may take it along
        )
    os.close(writing)
    handover = Handover.read(reading)
    if handover is None:
        code, tail = process.wait(), last_lines(settings.log_file)
        raise InternalError(f"the services ended while starting (exit code {code}); {settings.log_file} ends with:\n{tail}")
    if handover.credentials is None:
        process.wait()  # it lets go of the installation only when it has ended
        raise InternalError(f"{handover.error} (log: {settings.log_file})")
    return handover.credentials


def _environment(settings: NodeSettings) -> dict[str, str]:
    """What the command line changed, for the process that goes on."""
    return {f"SANDBANK_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}


def _run_here(installation: Installation, revision: str, *, show_keys: bool) -> None:
    from sandbank.cli.serve import serve

    settings = installation.settings

    def ready(credentials: Credentials) -> None:
        # Blocking HTTP against ourselves: from another thread, or the loop that has to answer would wait for itself.
        asyncio.get_running_loop().run_in_executor(None, _greet_or_complain, settings, credentials, show_keys)

    serve(installation, revision, ready)


def _greet_or_complain(settings: NodeSettings, credentials: Credentials, show_keys: bool) -> None:
    try:
        _greet(settings, credentials, show_keys=show_keys)
    except SandbankError as error:
        complain(error.message)


def _greet(settings: NodeSettings, credentials: Credentials, *, show_keys: bool) -> None:
    try:
        hello = greeting.greet(settings.api_url, settings.sandbox_url, credentials.api_key)
    except SandbankError as error:
        raise InternalError(greeting.explain(error)) from error
    say(ready_text(settings, credentials, hello, show_keys=show_keys))


def _already_running(installation: Installation, *, detach: bool) -> None:
    service = installation.last_service()
    if service is None:
        raise ConflictError(f"another `sandbank` command is at work in {installation.settings.data_dir}: try again when it is done")
    if not detach:
        raise ConflictError(f"already running as pid {service.pid}; `sandbank down` stops it")
    say(f"Already running as pid {service.pid}: {service.api_url}, by name {service.domain}; `sandbank down` first to change anything")
