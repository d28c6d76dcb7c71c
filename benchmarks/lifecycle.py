"""Create, list and kill by REST, in turns with `runc run` and `docker run`; bursts; the first command through the SDK."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from e2b import Sandbox

from benchmarks.containers import docker_answers, docker_image, runc_bundle, time_docker, time_runc
from benchmarks.report import Row, latency_rows, percentile
from benchmarks.rest import RestClient
from tests.product.instance import Instance

WARM_UP = 10


def measure_create(instance: Instance, rounds: int) -> list[Row]:
    """Creates and kills one after the other, each round with one container of every other kind, so that all meet the same load."""
    creates, kills, lists, runc, docker = [], [], [], [], []
    with ExitStack() as stack:
        client = stack.enter_context(RestClient(instance))
        bundle = stack.enter_context(runc_bundle(instance))
        image = stack.enter_context(docker_image(instance)) if docker_answers() else None
        for number in range(WARM_UP + rounds):
            sandbox_id, created = client.create()
            listed = client.listed()
            killed = client.kill(sandbox_id)
            other = time_runc(bundle) if number % 5 == 0 else None
            third = time_docker(image) if image is not None and number % 10 == 0 else None
            if number >= WARM_UP:
                creates.append(created)
                lists.append(listed)
                kills.append(killed)
                runc += [other] if other is not None else []
                docker += [third] if third is not None else []
    rows = latency_rows("create (REST) to 201, agent ready", creates, hold=("15", "30"), reach=("8", "15"))
    rows += latency_rows("runc run, to first output", runc)
    rows.append(Row("runc run ÷ create, p50", percentile(runc, 50) / percentile(creates, 50), "×"))
    if docker:
        rows += latency_rows("docker run, to first output", docker)
        rows.append(Row("docker run ÷ create, p50", percentile(docker, 50) / percentile(creates, 50), "×", "20"))
    else:
        rows.append(Row("docker run", float("nan"), "", note="no daemon here"))
    return rows + latency_rows("list (REST)", lists) + latency_rows("kill (REST)", kills)


def measure_first_command(instance: Instance, rounds: int) -> list[Row]:
    """From `Sandbox.create()` to the first command's output through the official SDK, one after the other."""
    durations = []
    for number in range(WARM_UP + rounds):
        started = time.perf_counter()
        sandbox = Sandbox.create(timeout=120)
        output = sandbox.commands.run("echo ready").stdout
        taken = time.perf_counter() - started
        sandbox.kill()
        if output != "ready\n":
            raise RuntimeError(f"the first command printed {output!r}")
        if number >= WARM_UP:
            durations.append(taken)
    return latency_rows("create → first command's output (Python SDK)", durations, hold=("40", ""), reach=("20", ""))


def measure_burst(instance: Instance, size: int) -> list[Row]:
    """That many creates at the same instant from as many clients, until the last one has its answer."""
    gate = threading.Barrier(size + 1)
    made: list[tuple[str, float]] = []
    failed: list[Exception] = []

    def one() -> None:
        with RestClient(instance) as client:
            client.listed()
            gate.wait()
            try:
                made.append(client.create())
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(size)]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - started
    with RestClient(instance) as client:
        orphans = len(client.request("GET", "/sandboxes", expect=200)) - len(made)
        for sandbox_id, _ in made:
            client.kill(sandbox_id)
    note = f"{len(failed)} failed, {orphans} orphaned"
    return [Row(f"burst of {size} creates from {size} clients, all answered", taken, "s", "1", "0.4", note)]
