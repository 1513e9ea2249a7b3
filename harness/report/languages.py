"""Every language the executive page can be read in: its catalogue, and what takes more than a catalogue to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report import blocks, language_sv_checks, versions, words
from harness.report.language_en import ENGLISH
from harness.report.language_sv import SWEDISH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.experiment import FaultSpec
    from harness.model.findings import Findings
    from harness.model.load import Load
    from harness.model.plan import Plan
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording
    from harness.report.language import Language, Phrases
    from harness.report.timeline import Timeline


@dataclass(frozen=True)
class Speech:
    """One language, whole."""

    language: Language
    why: Callable[[Verdicts, Findings], tuple[str, str]]
    """The sentence under the verdict, and what it quotes in English."""
    load: Callable[[Load], str]
    moment: Callable[[Any], str]
    """A wall time, UTC."""
    title: Callable[[Plan], str]


def _title_sv(plan: Plan) -> str:
    if plan.scale == 1:
        return plan.title
    scale = SWEDISH.say(plan.scale, "number")
    return f"{plan.model_copy(update={'scale': 1.0}).title} (skala {scale}: inte full längd)"


LANGUAGES: Mapping[str, Speech] = {
    "en": Speech(
        ENGLISH,
        lambda verdicts, _: (words.why(verdicts), ""),
        words.load,
        lambda when: f"{when.day} {when:%B %Y, %H:%M} UTC",
        lambda plan: plan.title,
    ),
    "sv": Speech(SWEDISH, language_sv_checks.why, language_sv_checks.load, language_sv_checks.moment, _title_sv),
}


def facts(recording: Recording, axis: Timeline, speech: Speech) -> list[tuple[str, str]]:
    """Return what ran, when, on what, how long, at which scale, against which version."""
    plan, language, phrases = recording.plan, speech.language, speech.language.phrases
    broken = [f"{f.on} {f.kind} {_lasts(f, language)}" for _, f in plan.faults]
    when = f"{speech.moment(axis.started)}, " if axis.started else ""
    told = [
        (phrases.target, plan.target.target),
        *_version(recording, phrases),
        (phrases.load, speech.load(plan.scenario.load)),
        (phrases.faults, ", ".join(broken) or phrases.none),
        (phrases.ran, f"{when}{phrases.ran_for} {language.say(axis.length, 's')}"),
    ]
    if plan.scale != 1:
        scale = language.say(plan.scale, "number")
        told.append((phrases.scale, phrases.scale_note.format(scale=scale)))
    return [*told, *blocks.version(recording)]


def _lasts(fault: FaultSpec, language: Language) -> str:
    if fault.during is not None:
        state = fault.during.state
        return language.phrases.during.format(state=language.states.get(state, state))
    return language.say(fault.for_s, "s") + (f" \u00d7 {fault.repeat}" if fault.repeat > 1 else "")


def _version(recording: Recording, phrases: Phrases) -> list[tuple[str, str]]:
    if version := versions.of_system(recording):
        return [(phrases.version, version)]
    images = versions.images(recording)
    return [(phrases.images, images)] if images else []
