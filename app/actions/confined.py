"""Becomes another program, with limits: confined.py MEMORY_MB CPU_SECS PROGRAM ARGUMENT… (see run_script).

A process of its own, as nothing may run between fork and exec where there are threads.
"""

import os
import resource
import sys

OPEN_FILES = 256


def main() -> None:
    memory_mb, cpu_secs, *program = sys.argv[1:]
    for limit, most in (
        (resource.RLIMIT_AS, int(memory_mb) << 20),
        (resource.RLIMIT_CPU, int(cpu_secs)),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    os.execve(program[0], program, os.environ)  # noqa: S606 — no shell is what is wanted


if __name__ == "__main__":
    main()
