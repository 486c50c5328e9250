"""The C reader on processors that this machine does not have; `make test-cross` runs it under qemu."""
