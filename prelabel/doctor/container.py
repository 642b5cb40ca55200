"""Whether this process runs in a container, where ``localhost`` is the container itself and nothing beside it.

By the marks that Docker, Podman and Kubernetes leave; a container without any counts as a machine.
"""

from pathlib import Path

MARKS = (".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io")
IN_CGROUP = ("docker", "kubepods", "containerd", "libpod", "lxc")


def is_container(root: Path = Path("/")) -> bool:
    """:param root: where the file system begins."""
    if any((root / mark).exists() for mark in MARKS):
        return True
    try:
        cgroup = (root / "proc/1/cgroup").read_text("utf-8")
    except OSError:
        return False
    return any(name in cgroup for name in IN_CGROUP)
