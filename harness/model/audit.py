"""A readiness audit: its rows and points as a file of `audits/`, and what recordings answer to them."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.model.base import Frozen, Name, located, nearest
from harness.model.units import PerSecond, Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator


def _share(value: object) -> object:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            raise ValueError(f"{value!r} is no share; write 20% or 0.2") from None
    return value


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]
"""A share of all, 0 to 1; ``20%`` in a file."""
Points = Annotated[float, Field(ge=0, le=100)]


class Ask(Frozen):
    """What a recording has to show for a row to pass: a kind of evidence (`analysis.audit_evidence`) and its limits.

    Which of the limits a kind takes, it says itself; the file is refused where they do not fit.
    """

    kind: str
    under: Seconds | None = None
    above: Share | None = None
    below: Share | None = None
    """Requests that may fail."""
    share: Share | None = None
    """Of outages, that has to be supported at 95 % confidence."""
    users: int | None = Field(default=None, gt=0)
    rate: PerSecond | None = None
    ramp: Seconds | None = None
    hold: Seconds | None = None
    count: int | None = Field(default=None, gt=0)
    of: str | None = None
    """Names of what it is about, with ``*`` and ``?``, separated by spaces."""


class Row(Frozen):
    """Anything the audit says that may be measured. Exactly one of `asks`, `needs` and `silent` is given."""

    id: Name
    title: str
    original: str = ""
    """In the audit's own language."""
    asks: Ask | None = None
    answers: Literal["whole", "part"] = "whole"
    """Whether what is measured is all that the row is about. A part that passes changes no points."""
    needs: str = ""
    """Load or chaos could speak to it, but nothing that is recorded does."""
    silent: str = ""
    """Why neither load nor chaos can speak to it."""
    reason: str = ""
    """Why it needs something or is silent, in the audit's own language."""

    @model_validator(mode="after")
    def _one_reason(self) -> Row:
        if sum(map(bool, (self.asks, self.needs, self.silent))) != 1:
            raise ValueError(f"row {self.id} needs exactly one of 'asks', 'needs' and 'silent'")
        if self.answers == "part" and not self.asks:
            raise ValueError(f"row {self.id}: 'answers' belongs to 'asks'")
        return self


class CheckRow(Row):
    """A row of a category's table of checks."""

    status: Literal["pass", "partial", "fail", "unknown"]
    points: Points
    found: str = ""
    """What the auditor wrote beside it."""


class Gap(Row):
    """Something the audit found missing."""

    severity: Literal["critical", "high", "medium", "low"]
    category: str
    effort: str = ""
    priority: str = ""


class Wish(Row):
    """What the audit asks for, or takes for granted, outside its tables."""

    category: str


class Category(Frozen):
    """One category: its score is the mean of the points of `checks`."""

    id: Name
    title: str
    original: str = ""
    weight: Share
    heading: Points
    """The score in the audit's heading and summary, which need not be the mean of its rows."""
    printed: Points
    """The score that the audit prints under the category's table."""
    checks: tuple[CheckRow, ...] = Field(min_length=1)
    detailed: tuple[CheckRow, ...] = ()
    """The same told apart further, in an appendix; counts nowhere."""


class MeasuredPoints(Frozen):
    """What a measured row is worth."""

    passed: Points = Field(default=100, alias="pass")
    failed: Points = Field(default=20, alias="fail")


class Audit(Frozen):
    """A readiness audit."""

    audit: Name
    title: str
    original: str = ""
    date: str = ""
    points: MeasuredPoints = MeasuredPoints()
    overall: Points | None = None
    """The score the audit prints for the whole."""
    categories: tuple[Category, ...] = Field(min_length=1)
    claims: tuple[Wish, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def rows(self) -> Iterator[Row]:
        """Every row, gaps last."""
        for category in self.categories:
            yield from category.checks
            yield from category.detailed
        yield from self.claims
        yield from self.gaps

    @model_validator(mode="after")
    def _names_meet(self) -> Audit:
        known = tuple(category.id for category in self.categories)
        for key, rows in (("claims", self.claims), ("gaps", self.gaps)):
            for row in rows:
                if row.category not in known:
                    hint = nearest(row.category, known)
                    raise located(key, f"{row.id}: no category {row.category!r}; {hint}known: {', '.join(known)}")
        twice = [name for name, n in Counter(row.id for row in self.rows).items() if n > 1]
        if twice:
            raise ValueError(f"the id {twice[0]} is given to more than one row")
        return self


# --- what recordings answer ------------------------------------------------------------------------------------------


class AuditVerdict(StrEnum):
    """What became of a row."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    SILENT = "cannot speak"


Fact = float | int | str | None


class Answer(Frozen):
    """What one recording shows of a row."""

    verdict: AuditVerdict
    key: str
    """Which sentence says it (`report.audit_words`), with `facts` in it."""
    facts: dict[str, Fact] = {}
    n: int = 0
    """Observations it rests on; outages where it is about outages."""
    whole: bool = True
    """Whether the recording did what the row asks for; one that did not (shorter, fewer users) says less."""
    notes: tuple[str, ...] = ()
    """Further sentences: what limits the answer."""


class Answered(Frozen):
    """A row of the audit with its verdict from all recordings together."""

    row: str
    verdict: AuditVerdict
    answer: Answer | None = None
    """The one that decides."""
    recording: str = ""
    heard: int = 0
    """Recordings that said something of it."""


class CategoryScore(Frozen):
    """The score of a category before and after, by the audit's own rule."""

    category: str
    heading: float
    before: float
    """Mean of the audit's points."""
    after: float
    points: tuple[tuple[str, float, float], ...]
    """(row, points before, points after)."""


class Witness(Frozen):
    """A recording that was heard."""

    name: str
    title: str
    valid: bool
    scale: float


class Readiness(Frozen):
    """The audit, answered."""

    audit: Audit
    witnesses: tuple[Witness, ...]
    rows: dict[str, Answered]
    scores: tuple[CategoryScore, ...]
    heading_overall: float
    """Weighted from the audit's headings, as the audit does."""
    before: float
    after: float
    """Weighted from the categories' means."""
