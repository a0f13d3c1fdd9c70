"""Which way imports point, what the device needs, and how soon help is there."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ossicle

SOURCE = Path(ossicle.__file__).parent
# From top to bottom. A module may import what stands in a row below its own; a folder may import within itself.
LEVELS = """
    cli
    learn
    field folds demo
    train report minutes ship
    trial
    rates
    learner
    lessons
    assemble evaluate
    objectives machine deploy size convert
    material model run plan
    teachers starts
    datasets checkpoint lock slots stops choice
    data views durable show layouts
    budget collapse draw distributed recipe schedules plain encoders frontends optimizers options words sentences
    spec audio
"""
LEVEL = {name: -row for row, line in enumerate(LEVELS.split("\n")) for name in line.split()}
HEAVY = ("torch", "sklearn", "matplotlib", "onnx", "onnxscript", "safetensors")
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))"


def imports(path):
    """The modules of ossicle that a file imports anywhere in it, as their first name below the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            modules = [f"{node.module}.{name.name}" for name in node.names]
        else:
            continue
        yield from {parts[1] for parts in (m.split(".") for m in modules) if parts[0] == "ossicle" and parts[1:]}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    name = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if name in ("__init__", "__main__"):
        return
    assert name in LEVEL, f"{name} has no level yet: give it a row in {Path(__file__).name}"
    up = {other for other in imports(path) if other in LEVEL and other != name and LEVEL[other] >= LEVEL[name]}
    assert not up, f"{name} imports {', '.join(sorted(up))}, which do not stand below it"


def test_every_level_is_of_a_module_that_is_there():
    there = {path.name.removesuffix(".py") for path in SOURCE.iterdir()}
    assert set(LEVEL) - there <= {"field"}


def python(code, *arguments, **options):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, **options)


def test_importing_ossicle_loads_nothing_heavy():
    done = python("import ossicle, sys; print([m for m in ('numpy', 'torch', 'onnxruntime') if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ossicle.__all__)
def test_public_names_are_there(name):
    assert getattr(ossicle, name) is getattr(ossicle, name)
    assert name in dir(ossicle)


def test_a_name_that_is_not_there_says_what_is():
    with pytest.raises(AttributeError, match=r"no attribute 'lode'.*load"):
        ossicle.lode  # noqa: B018


def test_help_works_without_torch():
    done = python(f"{BLOCKED}; from ossicle.cli import main; sys.exit(main(['--help']))")
    assert done.returncode == 0, done.stderr
    assert "pretrain" in done.stdout


def test_the_package_can_be_run():
    done = subprocess.run([sys.executable, "-m", "ossicle", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == ossicle.__version__


def test_help_is_quick():
    """Processor time, the best of three: how busy the machine is does not count."""
    code = "import time; from ossicle.cli import main; main(['--help']); print(time.process_time())"
    assert min(float(python(code).stdout.split()[-1]) for _ in range(3)) < 0.3


def test_the_device_needs_no_torch():
    modules = "ossicle.audio, ossicle.deploy.listen, ossicle.deploy.tune, ossicle.deploy.verify, ossicle.recipe"
    done = python(f"{BLOCKED}; import {modules}")
    assert done.returncode == 0, done.stderr


def test_a_path_that_is_not_there_is_told_before_anything_heavy_is_imported(tmp_path):
    lines = ["pretrain no -o o", "train no -o o", "train . --from no -o o", "train . --from no/fold{fold} -o o"]
    lines += [
        "distill no --teacher . -o o",
        "run no.toml",
        "evaluate no",
        "evaluate . no",
        "size no",
        "export no -o o",
        "report no",
    ]
    code = f"{BLOCKED}; from ossicle.cli import main; print([main(line.split()) for line in {lines!r}])"
    done = python(code, cwd=tmp_path)
    assert done.stdout.strip() == str([2] * len(lines)), done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == len(lines)
    assert all("no" in line and "pip install" not in line for line in told)


def test_a_missing_extra_is_named(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    done = python(f"{BLOCKED}; from ossicle.cli import main; sys.exit(main(['evaluate', '.']))", cwd=tmp_path)
    assert done.returncode == 2
    assert 'pip install "ossicle[train]"' in done.stderr
