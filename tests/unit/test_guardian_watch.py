"""The guardian's patience with a run that holds on to what has expired."""

from __future__ import annotations

from harness.clock import NS_PER_S
from harness.guardian_watch import Turns


def test_each_fault_is_told_once_and_what_nothing_helps_is_tried_ever_more_seldom() -> None:
    turns = Turns()
    tried: list[int] = []
    told: list[str] = []
    for second in range(3600):
        late = ["refuse-bedrock-5"] if second < 1000 else ["refuse-bedrock-5", "kill-agents-1"]
        new = turns.due(late, second * NS_PER_S)
        if new is not None:
            tried.append(second)
            told += new
    assert told == ["refuse-bedrock-5", "kill-agents-1"]
    assert tried[:5] == [0, 5, 15, 35, 75]
    assert 1000 in tried, "the second is not kept waiting"
    assert 1005 in tried
    assert len(tried) < 25
    assert turns.due([], 3600 * NS_PER_S) is None
