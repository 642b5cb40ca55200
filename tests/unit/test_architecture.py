"""The rules of the layout: who may import whom, and where each outside world is met."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
    for path in [*sorted((ROOT / "prelabel").rglob("*.py")), *sorted(ROOT.glob("*.py"))]
}

ORDER = [
    {"prelabel", "prelabel.errors"},
    {"prelabel.config", "prelabel.core"},
    {"prelabel.address"},
    {"prelabel.quality", "prelabel.studio", "prelabel.llm", "prelabel.store"},
    {"prelabel.asking", "prelabel.guidance", "prelabel.reviews", "prelabel.versions"},
    {"prelabel.project"},
    {"prelabel.answering", "prelabel.judging"},
    {"prelabel.hearing"},
    {"prelabel.labeling"},
    {"prelabel.evidence", "prelabel.service"},
    {"prelabel.learning"},
    {"prelabel.connecting", "prelabel.overflow"},
    {"prelabel.metrics"},
    {"prelabel.bootstrap"},
    {"prelabel.runs", "prelabel.shell", "prelabel.health", "prelabel.running"},
    {"prelabel.web", "prelabel.files", "prelabel.doctor", "prelabel.cli_quality", "prelabel.cli_runs", "model"},
    {"prelabel.cli", "_wsgi", "gunicorn.conf"},
    {"prelabel.__main__"},
]
"""Each may import what stands before it, and itself."""

HOMES = {
    "openai": ("prelabel.llm",),
    "httpx2": ("prelabel.llm.batch_files",),
    "genai_prices": ("prelabel.llm.pricing",),
    "redis": ("prelabel.store", "prelabel.runs", "prelabel.bootstrap"),
    "rq": ("prelabel.store", "prelabel.runs", "prelabel.bootstrap"),
    "flask": ("prelabel.web", "_wsgi"),
    "werkzeug": ("prelabel.web", "_wsgi"),
    "label_studio_sdk": ("prelabel.studio.client", "prelabel.studio.rows", "prelabel.studio.refusals"),
    "httpx": ("prelabel.address", "prelabel.studio.client", "prelabel.studio.refusals"),
    "label_studio_ml": ("model",),
    "sklearn": ("prelabel.quality",),
    "scipy": ("prelabel.quality",),
    "numpy": ("prelabel.quality",),
    "yaml": ("prelabel.guidance",),
    "pydantic_core": ("prelabel.guidance.expressions",),
    "prometheus_client": ("prelabel.metrics",),
}
"""Where each outside world is met, and nowhere else."""


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that ``tree`` names in its imports; ``a.b`` for ``from a import b`` too, since it may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str) -> tuple[int, str]:
    """The place in ``ORDER`` and the name that stands there."""
    found = [(place, name) for place, names in enumerate(ORDER) for name in names if is_in(module, name)]
    return max(found, key=lambda item: len(item[1]))


def top(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_its_place() -> None:
    assert [module for module in MODULES if module != "prelabel" and layer(module)[1] == "prelabel"] == []


def test_imports_go_one_way() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, tree in MODULES.items()
        for name in imports(tree)
        if any(is_in(name, own) for own in MODULES)
        and layer(name)[1] != layer(module)[1]
        and layer(name)[0] >= layer(module)[0]
    ]

    assert wrong == []


def test_core_imports_only_the_standard_library() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, tree in MODULES.items()
        if is_in(module, "prelabel.core")
        for name in imports(tree)
        if top(name) not in sys.stdlib_module_names
        and not is_in(name, "prelabel.core")
        and not is_in(name, "prelabel.errors")
    ]

    assert wrong == []


@pytest.mark.parametrize("package", HOMES)
def test_each_outside_world_is_met_in_one_place(package: str) -> None:
    users = {module for module, tree in MODULES.items() if package in {top(name) for name in imports(tree)}}

    assert {module for module in users if not any(is_in(module, home) for home in HOMES[package])} == set()
    assert users


def test_label_studios_sdk_is_imported_when_it_is_needed() -> None:
    """It takes a second and a hundred megabytes, which a web process that never calls Label Studio is spared."""
    at_once = [
        module
        for module, tree in MODULES.items()
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        if "label_studio_sdk" in {top(name) for name in imports(node)}
    ]

    assert at_once == []


def test_environment_variables_are_read_in_one_place() -> None:
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    readers = {
        module
        for module, tree in MODULES.items()
        if any(isinstance(node, ast.Attribute) and node.attr in names for node in ast.walk(tree))
        or any(name in {f"os.{each}" for each in names} for name in imports(tree))
    }

    assert readers == {"prelabel.config"}
