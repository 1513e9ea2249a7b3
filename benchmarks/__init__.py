"""Speed, memory and truth of the instrument, beside what a user would use instead: see ``benchmarks/README.md``."""
