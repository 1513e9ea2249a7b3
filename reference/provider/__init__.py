"""A simulator of an LLM provider: real wire formats, seeded latency, a ledger of the truth, a fault switch."""
