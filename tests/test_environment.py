"""One list of versions for everybody, commands that make the environment, and no trace of any machine."""

import ast
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib import paths
from tests.reproduce.switched_off import sanitized

LOCK, SITE_LOCK = paths.ROOT / "requirements.txt", paths.ROOT / "requirements-site.txt"
SITE = paths.ROOT / "lib" / "site"  # has packages of its own, in requirements-site.in
FILES = sorted(file for file in (paths.ROOT / "lib").rglob("*.py") if SITE not in file.parents)


@cache
def asked(name: str = "requirements.in") -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (paths.ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


@cache
def locked(lock: Path = LOCK) -> dict[str, list[Requirement]]:
    """Name to its pins, one for each marker it is split by."""
    pins: dict[str, list[Requirement]] = {}
    for line in lock.read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line.removesuffix("\\"))
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not pinned"
    return specifier.version


def in_python(pin: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return pin.marker is None or pin.marker.evaluate(environment)


# ---------------------------------------------------------------------- one list of versions


def test_conda_users_get_python_pip_and_the_lock():
    recipe = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    assert recipe["channels"] == ["conda-forge"]
    assert recipe["dependencies"] == ["python >=3.11,<3.13", "pip", {"pip": ["-r requirements.txt"]}]
    assert 'requires-python = ">=3.11,<3.13"' in (paths.ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_each_package_asked_for_is_locked_once_and_within_its_bounds(python):
    for wish in asked():
        pins = [pin for pin in locked().get(canonicalize_name(wish.name), []) if in_python(pin, python)]
        assert len(pins) == 1, f"{wish.name}: {len(pins)} pins for Python {python}; `make lock` makes them anew"
        assert wish.specifier.contains(version(pins[0])), f"locked {pins[0]} does not fit {wish}"


@pytest.mark.parametrize("lock", [LOCK, SITE_LOCK], ids=lambda lock: lock.name)
def test_a_lock_is_hashed_and_does_not_say_where_packages_come_from(lock):
    text = lock.read_text()
    for word in ("://", "--index", "--extra-index", "--find-links", "--trusted-host", " @ ", "file:"):
        assert word not in text, f"{lock.name} holds {word!r}"
    entries = re.split(r"\n(?=[^\s#])", text.split("\n", 2)[2])
    bare = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert not bare, f"no hash for {bare}"


def test_the_lock_names_the_command_that_requirements_in_names():
    command = next(line for line in LOCK.read_text().splitlines() if "uv pip compile" in line).strip("# ")
    assert command in (paths.ROOT / "requirements.in").read_text()


def test_this_environment_is_the_lock():
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wrong = []
    for wish in asked():
        (pin,) = [pin for pin in locked()[canonicalize_name(wish.name)] if in_python(pin, python)]
        try:
            found = metadata.version(wish.name)
        except metadata.PackageNotFoundError:
            found = "nothing"
        if found == "nothing" or not pin.specifier.contains(found, prereleases=True):
            wrong.append(f"{wish.name}: found {found}, expected {version(pin)}")
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------------- what lib imports


def imports(file: Path) -> set[str]:
    """The top-level names of everything a module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_each_package_that_lib_imports_is_asked_for():
    providers = metadata.packages_distributions()
    wishes = {canonicalize_name(wish.name) for wish in asked()}
    strangers = {}
    for file in FILES:
        for name in imports(file) - set(sys.stdlib_module_names) - {"lib"}:
            if not wishes & {canonicalize_name(provider) for provider in providers.get(name, ())}:
                strangers.setdefault(name, []).append(file.relative_to(paths.ROOT).as_posix())
    assert not strangers, f"add to requirements.in: {strangers}"


def test_the_site_asks_for_what_it_imports_and_has_it_locked():
    names = {"docutils": "sphinx", "PIL": "pillow", "markdown_it": "markdown-it-py"}  # a module and what brings it
    wishes = {canonicalize_name(wish.name) for wish in asked("requirements-site.in")}
    assert wishes <= locked(SITE_LOCK).keys()
    imported = {name for file in SITE.rglob("*.py") for name in imports(file)} - set(sys.stdlib_module_names) - {"lib"}
    assert {canonicalize_name(names.get(name, name)) for name in imported} <= wishes


# ---------------------------------------------------------------------- the two commands, and no trace of a machine


def test_the_commands_of_the_readme_are_in_the_makefile_and_make_the_environment_first():
    readme, makefile = paths.README.read_text(encoding="utf-8"), (paths.ROOT / "Makefile").read_text()
    code = re.findall(r"```.*?```|`[^`]*`|^ {4}[^\n]*", readme, flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(code)))
    assert {"reproduce", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    for target in ("reproduce", "test", "lab", "bench"):
        assert re.search(rf"^{target}: \$\(READY\)", makefile, flags=re.MULTILINE)
    assert re.search(r"^\$\(READY\): \$\(LOCK\)$", makefile, flags=re.MULTILINE)


def test_the_readme_installs_from_files_that_there_are_without_make_too():
    code = re.findall(r"`([^`\n]*)`", paths.README.read_text(encoding="utf-8"))
    named = {(line.split()[0], file) for line in code for file in re.findall(r" -[rf] (\S+)", line)}
    expected = {("conda", "environment.yml"), ("micromamba", "environment.yml"), ("uv", "requirements.txt")}
    assert named == expected | {(".venv\\Scripts\\python", "requirements.txt")}
    assert all((paths.ROOT / file).exists() for _, file in named)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not (paths.ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False)


def test_no_file_names_a_machine_or_a_package_registry():
    folders = ["work", "root", "home/[a-z]+", "Users/[A-Za-z]+", "tmp"]
    hosts = [("py", "pi", "org"), ("python", "hosted", "org"), ("ana", "conda", "com"), ("ana", "conda", "org")]
    hosts += [("npm", "js", "org"), ("download.py", "torch", "org")]
    patterns = [rf"(?<![\w.\-~])/{folder}/" for folder in folders]
    patterns += [re.escape(f"{head}{tail}.{end}") for head, tail, end in hosts]
    pattern = re.compile("|".join(patterns))
    found = []
    for name in git("ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines():
        file = paths.ROOT / name
        if file.suffix != ".png" and file.is_file():
            for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
                found += [f"{name}:{number}: {match[0]}" for match in pattern.finditer(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "ignored"),
    [
        ("lib/crowd/labels.py", False),  # a stock list of what to ignore has lib/
        ("data/reference/any.jsonl", False),
        ("figures/10_any/table.csv", False),
        ("data/cache/labelme/answers.txt", True),
        ("data/runs/any/0.json", True),
        ("build/any.ipynb", True),
        (".venv/bin/python", True),
    ],
)
def test_git_keeps_what_is_ours_and_ignores_what_is_fetched(file, ignored):
    assert (git("check-ignore", "--no-index", "-q", file).returncode == 0) is ignored


# ---------------------------------------------------------------------- what nbval may overlook


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("made 2026-01-31 12:00:07", "made DATETIME"),
        ("trained in 12.3 s", "trained in DURATION"),
        ("saved to /home" + "/ada/figures/a.png", "saved to PATH"),
        ("<object at 0x7f00aa11bb22>", "<object at ADDRESS>"),
        ("30%|###       | 3/10 [00:01<00:03,  2.0it/s]", "PROGRESS"),
        # and no result
        *((text, text) for text in ("86.9 ± 0.6 (n=10)", "accuracy 0.845", "1000 items", "mean/std/n", "min  0.25", "3/10")),
    ],
)
def test_what_differs_from_run_to_run_is_overlooked(text, left):
    assert sanitized(text) == left
