"""Whose calls reached the providers, as findings."""

from __future__ import annotations

from harness.model.base import Frozen


class Tenancy(Frozen):
    """Tenants that provider calls were made for, by the ledgers, held against those of the requests they belong to."""

    compared: int
    """Calls of the load's requests that carried a tenant, cached answers and the canary left out."""
    agree: int
    under_fault: int
    """Calls compared whose request was due while a fault was on."""
    examples: tuple[str, ...] = ()
    """The first few that do not agree, for the engineer."""
