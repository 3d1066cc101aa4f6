"""The wheel holds the four packages and their presets, and its command works from any folder."""

import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from repository import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():  # as a clean checkout would have it
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)], check=True, timeout=200)
    (built,) = folder.glob("onepath-*.whl")
    return built


def test_presets_are_in_the_wheel_and_tests_are_not(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "configs/runs/quickstart.yaml",
        "configs/spaces/digits.yaml",
        "configs/networks/proxyless-gpu.yaml",
    } <= names
    assert "configs/targets/ort-cpu-1t.yaml" in names
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"supernet", "latency", "orchestrator", "configs"}


def test_installed_wheel_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=100)
    (packages,) = environment.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", str(packages), str(wheel)], check=True, timeout=100)
    # Third-party packages come from the environment of the tests; its own editable install is behind this path.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    listed = run(environment, tmp_path, "arch", "list")
    assert str(packages) in listed
    assert "proxyless-mobile" in listed
    assert '"space": "scattered-digits"' in run(environment, tmp_path, "sweep", "quickstart", "--dry-run", "--json")


def run(environment: Path, folder: Path, *arguments: str) -> str:
    """Run the command with the environment's Python; return where the packages lie, and what it printed."""
    code = f"import sys, orchestrator.cli.main as cli; print(cli.__file__); sys.argv[1:] = {arguments!r}; cli.main()"
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-I", "-c", code], cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
