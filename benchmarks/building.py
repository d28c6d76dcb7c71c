"""The same recipe built by us and by `buildah` from the same files, cold and cached; and what templates that start something cost."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from e2b import Sandbox, Template, wait_for_port

from benchmarks.containers import base_layers
from benchmarks.report import Row, percentile
from sandbank.code_interpreter import recipe
from tests.product.instance import Instance

_MANY = "python3 -c \"import os; [open(f'/srv/f{n}', 'w').write(str(n) * 200) for n in range(3000)]\""
_COMPILE = "python3 -m compileall -q -f /usr/lib/python3.11/email /usr/lib/python3.11/asyncio"
_STARTS = {
    "http.server": "exec python3 -m http.server 8000",
    "200 MB in memory": "exec python3 -c \"import http.server; kept = bytearray(b'x') * (200 << 20); "
    "http.server.HTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()\"",
}
_CELL = "import pandas, matplotlib.pyplot\nprint(40 + 2)"


def measure_builds(instance: Instance, rounds: int) -> list[Row]:
    """Each round has a recipe that nobody has built, by one and by the other, and then once more each."""
    ours: dict[str, list[float]] = {"cold": [], "cached": []}
    theirs: dict[str, list[float]] = {"cold": [], "cached": []}
    with TemporaryDirectory() as directory, _buildah(instance) as buildah:
        context = Path(directory)
        (context / "app").mkdir()
        for number in range(200):
            (context / "app" / f"{number}.py").write_text(f"print({number})\n" * 50)
        for _ in range(rounds):
            mark = uuid.uuid4().hex
            for kind in ("cold", "cached"):
                ours[kind].append(_build_ours(context, mark))
                if buildah is not None:
                    theirs[kind].append(_build_theirs(buildah, context, mark))
    rows = []
    for kind in ("cold", "cached"):
        mine = percentile(ours[kind], 50)
        rows.append(Row(f"build, {kind}, p50", mine, "s", note=f"{rounds} recipes: 3 RUN, COPY of 200 files, ENV; SDK to ready"))
        if theirs[kind]:
            other = percentile(theirs[kind], 50)
            rows += [Row(f"buildah bud, {kind}, p50", other, "s"), Row(f"buildah ÷ build, {kind}", other / mine, "×")]
    return rows


def _build_ours(context: Path, mark: str) -> float:
    template = Template(file_context_path=context).from_base_image().set_user("root").copy("app", "/srv/app").set_envs({"MARK": mark})
    template = template.run_cmd(f"echo {mark} > /srv/mark").run_cmd(_MANY).run_cmd(_COMPILE)
    began = time.perf_counter()
    Template.build(template, f"bench-{mark[:12]}")
    return time.perf_counter() - began


def _build_theirs(buildah: list[str], context: Path, mark: str) -> float:
    lines = [
        "FROM localhost/base",
        "COPY app /srv/app",
        f"ENV MARK={mark}",
        f"RUN echo {mark} > /srv/mark",
        f"RUN {_MANY}",
        f"RUN {_COMPILE}",
    ]
    file = context / "Dockerfile"
    file.write_text("\n".join(lines))
    command = [
        *buildah,
        "bud",
        "--layers",
        "--isolation",
        "chroot",
        "--pull=never",
        "-q",
        "-t",
        f"bench:{mark}",
        "-f",
        str(file),
        str(context),
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    taken = time.perf_counter() - began
    file.unlink()
    return taken


@contextmanager
def _buildah(instance: Instance) -> Iterator[list[str] | None]:
    """With an image of the base template's files in a store of its own; None where it is not installed."""
    if shutil.which("buildah") is None:
        yield None
        return
    store = instance.data_dir / f"buildah-{uuid.uuid4().hex[:8]}"
    command = ["buildah", "--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", "overlay"]
    try:
        container = subprocess.run([*command, "from", "scratch"], check=True, capture_output=True, text=True).stdout.strip()
        mounted = subprocess.run([*command, "mount", container], check=True, capture_output=True, text=True).stdout.strip()
        for layer in base_layers(instance):
            subprocess.run(f"tar -C {layer} -c . | tar -C {mounted} -x", shell=True, check=True)
        subprocess.run([*command, "commit", "-q", container, "localhost/base"], check=True, capture_output=True)
        yield command
    finally:
        subprocess.run([*command, "rm", "--all"], check=False, capture_output=True)
        subprocess.run([*command, "rmi", "--all", "--force"], check=False, capture_output=True)
        shutil.rmtree(store, ignore_errors=True)


def measure_starts(instance: Instance, rounds: int) -> list[Row]:
    """Creates of templates that have something running, in turns with plain ones, each until the service has answered once."""
    names = {}
    for label, command in _STARTS.items():
        names[label] = f"bench-start-{uuid.uuid4().hex[:8]}"
        Template.build(Template().from_base_image().set_start_cmd(command, wait_for_port(8000)), names[label])
    taken: dict[str, list[float]] = {label: [] for label in ("base", *names)}
    for _ in range(rounds):
        for label, name in {"base": "base", **names}.items():
            began = time.perf_counter()
            sandbox = Sandbox.create(name, timeout=60)
            taken[label].append(time.perf_counter() - began)
            sandbox.kill()
    plain = percentile(taken["base"], 50)
    rows = [Row("create, base, p50 (SDK)", plain * 1000, "ms", note=f"{rounds} samples each, in turns")]
    for label in names:
        value = percentile(taken[label], 50)
        rows += [Row(f"create, {label} running, p50", value * 1000, "ms"), Row(f"create, {label} ÷ base", value / plain, "×")]
    return rows


def measure_first_cell(instance: Instance, rounds: int) -> list[Row]:
    """From the request for a sandbox of the code interpreter to the last line of its first cell, which imports pandas and matplotlib."""
    name = f"bench-cells-{uuid.uuid4().hex[:8]}"
    made = recipe.recipe(recipe.Profile.MINIMAL)
    template: Any = Template(file_context_path=Path(recipe.__file__).parent).from_base_image()
    for step in made.steps:
        match step.type:
            case "COPY":
                template = template.copy(step.args[0], step.args[1], user=step.args[2])
            case "RUN":
                template = template.run_cmd(step.args[0], user=step.args[1])
    began = time.perf_counter()
    Template.build(
        template.set_workdir("/home/user").set_start_cmd(made.start_command, made.ready_command), name, memory_mb=made.memory_mib
    )
    building = time.perf_counter() - began
    creates, totals = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        sandbox = Sandbox.create(name, timeout=60)
        creates.append(time.perf_counter() - began)
        if "42" not in _execute(instance, sandbox):
            raise RuntimeError("the cell did not print what it should")
        totals.append(time.perf_counter() - began)
        sandbox.kill()
    return [
        Row("code interpreter, built from packages", building, "s", note="the minimal profile, once"),
        Row("code interpreter, create, p50", percentile(creates, 50) * 1000, "ms", note=f"{rounds} samples; kernels are warm"),
        Row("code interpreter, create to first cell's end, p50", percentile(totals, 50) * 1000, "ms"),
    ]


def _execute(instance: Instance, sandbox: Sandbox) -> str:
    host, port = instance.proxy_address
    connection = http.client.HTTPConnection(host, port, timeout=60)
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(recipe.PORT), "Content-Type": "application/json"}
    if token := sandbox.traffic_access_token:
        headers["E2B-Traffic-Access-Token"] = token
    connection.request("POST", "/execute", json.dumps({"code": _CELL}), headers)
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()
