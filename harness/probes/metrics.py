"""The system's own Prometheus metrics: recorded as they are, and its breakers' changes as events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from harness.clock import NS_PER_MS, now_ns
from harness.probes.periodic import Periodic
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.samples import Sample

    from harness.model.target import Metrics as MetricsSpec
    from harness.recording.tables import EventLog, SampleWriter

_LABELLED = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\{(?P<label>[a-zA-Z_]\w*)\}")
_SUFFIX = re.compile("_(total|bucket)$")
_SHORTEST_TIMEOUT_S = 2.0


def read_samples(text: str, names: tuple[str, ...]) -> Iterator[Sample]:
    """Yield the samples of `names` in a Prometheus exposition.

    Only their lines reach the parser: the rest of a page can be a hundred times as long. ValueError when one of
    them cannot be read.
    """
    wanted = [line for line in text.splitlines() if line.startswith(names)]
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        yield from (sample for sample in family.samples if sample.name in names)


def sums(found: Iterable[Sample], kept: Mapping[str, str]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the sums of the samples named in `kept` over all labels but the one it keeps, "" for none."""
    totals: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in found:
        label = kept.get(sample.name)
        if label is not None:
            key = sample.name, ((label, sample.labels.get(label, "")),) if label else ()
            totals[key] = totals.get(key, 0.0) + sample.value
    return totals


def _declared(text: str, name: str) -> bool:
    """Tell whether the page knows `name` although it has no sample of it yet: counters with labels begin like that."""
    return re.search(rf"^# (TYPE|HELP) {re.escape(_SUFFIX.sub('', name))}(_total)? ", text, re.MULTILINE) is not None


class Metrics(Periodic):
    """Scrapes every `spec.every`. Samples have source ``metrics``: the named metrics with their labels, and
    ``scrape_ms``, ``scrape_failed`` (0 or 1) of the scrape itself. Those of `spec.summed` are one sample for each value
    of the one label they keep.

    `pages` is asked at every look and gives the base URL of each copy of the system by its name, "" for the only one; a
    name is the label ``instance`` of what is read there. A changed breaker gauge is an event `breaker` about the
    provider, ``{state, was, instance, low_ns, high_ns}``: it changed between the previous scrape's start and this one's
    end. A metric the page does not know is told once (kind `probe`, subject ``missing``), as is a gauge value that
    stands for no state (subject ``unknown_state``).
    """

    def __init__(
        self, pages: Callable[[], Mapping[str, str]], spec: MetricsSpec, samples: SampleWriter, events: EventLog
    ) -> None:
        super().__init__("metrics", spec.every, events)
        self._pages, self._path = pages, spec.url
        self._samples, self._states = samples, spec.breaker_states
        self._timeout_s = max(spec.every, _SHORTEST_TIMEOUT_S)
        match = _LABELLED.fullmatch(spec.breaker or "")
        self._gauge, self._label = (match["name"], match["label"]) if match else ("", "")
        self._summed = spec.summed
        self._names = tuple(n for n in (self._gauge, spec.cache_hits, spec.cache_misses, *self._summed) if n)
        self._breakers: dict[tuple[str, str], str] = {}
        """By copy and provider."""
        self._scraped_ns: dict[str, int] = {}
        self._told: set[str] = set()

    def look(self) -> None:
        """Scrape every copy once."""
        problems = []
        for instance, base in self._pages().items():
            url = self._path if "://" in self._path else base.rstrip("/") + self._path
            try:
                self._scrape(instance, url)
            except (OSError, ValueError) as error:  # one that is gone must not hide the others
                problems.append(f"{url}: {error}")
        if problems:
            raise OSError("; ".join(problems))

    def _scrape(self, instance: str, url: str) -> None:
        own = {"instance": instance} if instance else {}
        asked_ns = now_ns()
        failed = 1.0
        try:
            status, body = get(url, self._timeout_s)
            if status != 200:
                raise OSError(f"HTTP {status}")
            text = body.decode("utf-8", "replace")
            found = list(read_samples(text, self._names))
            failed = 0.0
        finally:
            answered_ns = now_ns()
            self._samples.sample("metrics", "scrape_ms", (answered_ns - asked_ns) / NS_PER_MS, own, t_ns=answered_ns)
            self._samples.sample("metrics", "scrape_failed", failed, own, t_ns=answered_ns)
        for (name, labels), value in sums(found, self._summed).items():
            self._samples.sample("metrics", name, value, dict(labels) | own, t_ns=answered_ns)
        for sample in found:
            if sample.name not in self._summed:
                self._samples.sample("metrics", sample.name, sample.value, sample.labels | own, t_ns=answered_ns)
            if sample.name == self._gauge:
                self._see_breaker(instance, sample.labels, sample.value, answered_ns)
        self._tell_missing(url, text, {sample.name for sample in found})
        self._scraped_ns[instance] = asked_ns

    def _see_breaker(self, instance: str, labels: Mapping[str, str], value: float, answered_ns: int) -> None:
        provider = labels.get(self._label)
        if provider is None:
            self._tell(f"{self._gauge}{{{self._label}}}", "missing", "the gauge has no such label")
            return
        state = self._states.get(f"{value:g}")
        if state is None:
            self._tell(provider, "unknown_state", f"{self._gauge} is {value:g}; known: {', '.join(self._states)}")
            return
        was = self._breakers.get((instance, provider))
        self._breakers[instance, provider] = state
        if was is not None and state != was:
            self._events.emit(
                "breaker", "metrics", provider, t_ns=answered_ns, state=state, was=was, instance=instance,
                low_ns=self._scraped_ns[instance], high_ns=answered_ns,
            )  # fmt: skip

    def _tell_missing(self, url: str, text: str, seen: set[str]) -> None:
        for name in self._names:
            if name not in seen and name not in self._told and not _declared(text, name):
                self._tell(name, "missing", f"{url} shows no such metric")

    def _tell(self, what: str, subject: str, why: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._events.emit("probe", "metrics", subject, metric=what, why=why)
