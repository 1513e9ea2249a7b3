"""Whose calls reached the providers, on planted mix-ups."""

from __future__ import annotations

from pathlib import Path

from harness.analysis import analyse
from harness.analysis.audit_evidence import EVIDENCE
from harness.analysis.audit_seen import Seen
from harness.model.audit import Ask, AuditVerdict
from tests.recordings import RecordingBuilder, experiment, plan


def seen(path: Path, mixed: int, n: int = 4000) -> Seen:
    builder = RecordingBuilder(path, plan(hold_s=40, experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=30, cooldown=40)
    builder.fault("bedrock-blackhole#0", 20, 30)
    for i in range(n):
        due = 40 * i / n
        tenant = ("meetmind", "agentsvea", "")[i % 3 if i % 100 == 2 else i % 2]
        request = builder.request(due, 0.1, tenant=tenant, ledger=False)
        carried = "feliciasfi" if i in range(100, 100 + 7 * mixed, 7) else tenant
        builder.call("openai", due + 0.01, due + 0.09, request, tenant=carried)
    builder.call("openai", 1, 2, tenant="elsewhere")  # nobody's request
    recording = builder.close(41)
    return Seen("run", recording.plan, analyse(recording)[0])


def test_calls_in_another_tenants_name_are_found(tmp_path: Path) -> None:
    found = seen(tmp_path / "run", mixed=3).findings.tenancy
    assert found is not None
    without = sum(i % 100 == 2 and i % 3 == 2 for i in range(4000))
    assert (found.compared, found.compared - found.agree) == (4000 - without, 3)
    assert abs(found.under_fault - found.compared / 4) < 3
    assert len(found.examples) == 3
    assert "openai was called for 'feliciasfi'" in found.examples[0]


def test_one_mix_up_fails_and_none_passes_when_there_were_enough_calls(tmp_path: Path) -> None:
    ask = Ask.model_validate({"kind": "tenants", "below": "0.1%"})
    for mixed, n, verdict in (
        (1, 4000, AuditVerdict.FAIL),
        (0, 4000, AuditVerdict.PASS),
        (0, 400, AuditVerdict.INCONCLUSIVE),
    ):
        answer = EVIDENCE["tenants"].look(seen(tmp_path / f"{mixed}_{n}", mixed, n), ask)
        assert answer is not None
        assert answer.verdict is verdict


def test_without_ledger_rows_nothing_is_said(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "run", plan(hold_s=2))
    builder.phases(steady=0, cooldown=2)
    builder.request(1, 0.1, ledger=False)
    assert analyse(builder.close(3))[0].tenancy is None
