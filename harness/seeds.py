"""The only module that draws seeds: every random draw of a run comes from the plan's seed, in named streams.

A named stream does not move when another stream draws more or less, so adding a fault or a user does not
change the arrivals. Streams are spawned as numpy recommends (`SeedSequence`, spawn keys), keyed by name.
"""

from __future__ import annotations

import hashlib
import random
import secrets

import numpy as np


def fresh_seed() -> int:
    """Draw a seed for a run that was given none; it is written to the manifest so the run can be repeated."""
    return secrets.randbits(32)


def fresh_run_id() -> int:
    """Draw the 64-bit number that marks all requests of one run (the high half of their trace ids)."""
    return secrets.randbits(63) | 1


def fresh_password() -> str:
    """Draw a word that nobody can guess: what our own processes know each other by."""
    return secrets.token_hex(16)


def _key(name: str) -> list[int]:
    digest = hashlib.sha256(name.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4)]


def generator(seed: int, stream: str) -> np.random.Generator:
    """Return numpy's generator for the stream named `stream` of `seed`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=_key(stream))))


def python_random(seed: int, stream: str) -> random.Random:
    """Return a standard-library generator for the stream named `stream` of `seed`."""
    return random.Random(int(generator(seed, stream).integers(0, 2**63)))  # noqa: S311 - not for secrets
