"""The HTTP fault proxy: stands before one plain-HTTP upstream and passes every byte on, until it is told to misbehave.

A program of its own (``python -m harness.faultproxy``), standard library only: it must start at once and cost little.
It knows no kinds of faults, only effects on an exchange (`effects`); which fault has which effect is in
`harness.faults.http`.
"""
