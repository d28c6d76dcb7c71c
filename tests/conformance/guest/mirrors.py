"""Two processes that change the same data in step and compare it: `mirrors.py <bytes> <where the number of rounds is told>`.

Each hashes its whole heap in each round, so that a page that came back as it was at another time, or as another's, is found in the next.
"""

from __future__ import annotations

import hashlib
import os
import sys

PART = 1 << 16


def digest(heap: list[bytearray]) -> bytes:
    """Of everything."""
    found = hashlib.blake2b()
    for part in heap:
        found.update(part)
    return found.digest()


def main(size: int, told: str) -> None:
    """Runs until it is killed, or until something is not what it was: then it says what and ends."""
    heap = [bytearray(os.urandom(PART)) for _ in range(size // PART)]
    orders, take = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(orders[1])
        with os.fdopen(orders[0], "rb") as reading:
            while order := reading.read(2 + PART):
                heap[int.from_bytes(order[:2], "big") % len(heap)][:] = order[2:]
                os.write(take[1], digest(heap))
        os._exit(0)
    right, rounds = digest(heap), 0
    while True:
        if digest(heap) != right:
            sys.exit(f"the heap changed by itself before round {rounds}")
        at, fresh = int.from_bytes(os.urandom(2), "big"), os.urandom(PART)
        heap[at % len(heap)][:] = fresh
        right = digest(heap)
        sent = at.to_bytes(2, "big") + fresh
        while sent:
            sent = sent[os.write(orders[1], sent) :]
        if os.read(take[0], 64) != right:
            sys.exit(f"the two differ in round {rounds}")
        rounds += 1
        with open(told + ".new", "w") as file:
            file.write(str(rounds))
        os.rename(told + ".new", told)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
