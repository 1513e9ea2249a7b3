"""Plain frozen data: what every other package speaks about. Nothing here does any input or output."""
