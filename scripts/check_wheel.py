"""Check that the wheel works on its own: typed, and with nothing but the core dependencies."""

import sys
import venv
from pathlib import Path
from subprocess import check_call
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
MODULES = (
    "esbank",
    "esbank.store",
    "esbank.backends.memory",
    "esbank.backends.sqlite",
    "esbank.bank",
)


def main() -> None:
    """Build the wheel, look into it, and import it from a fresh environment."""
    with TemporaryDirectory() as directory:
        build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
        check_call((*build, "--wheel-dir", directory, ROOT))
        (wheel,) = Path(directory).glob("*.whl")

        if "esbank/py.typed" not in ZipFile(wheel).namelist():
            sys.exit(f"{wheel.name} has no py.typed")

        venv.create(Path(directory, "venv"), with_pip=True)
        python = Path(directory, "venv", "bin", "python")
        install = (python, "-m", "pip", "install", "--quiet")
        check_call((*install, "--constraint", ROOT / "constraints.txt", wheel))
        check_call((python, "-I", "-c", f"import {', '.join(MODULES)}"))

        print(f"{wheel.name} is typed and imports with its core dependencies")


if __name__ == "__main__":
    main()
