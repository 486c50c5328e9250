"""The tests; a package so that they can share their builders."""

# Seconds until what hangs is given up; whatever works is done by then on a machine that is busy, or paused for minutes.
PATIENCE = 600
