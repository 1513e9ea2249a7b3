"""The recording: a directory that any later reader, on any machine, can judge. See `layout`."""
