"""Check that the wheel works on its own: typed, and with nothing but the core dependencies."""

import sys
import venv
from pathlib import Path
from subprocess import check_call, run
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
MODULES = (
    "esbank",
    "esbank.store",
    "esbank.backends.jsonl",
    "esbank.backends.memory",
    "esbank.backends.sqlite",
    "esbank.bank",
    "esbank.testing",
    "esbank.transfer",
)
FILES = ("esbank/py.typed", "esbank/bank/schema.json")
HINT = "The commands need cyclopts and rich; install them: pip install 'esbank[cli]'\n"


def main() -> None:
    """Build the wheel, look into it, and import it from a fresh environment."""
    with TemporaryDirectory() as directory:
        build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
        check_call((*build, "--wheel-dir", directory, ROOT))
        (wheel,) = Path(directory).glob("*.whl")

        with ZipFile(wheel) as content:
            for missing in set(FILES).difference(content.namelist()):
                sys.exit(f"{wheel.name} has no {missing}")

        venv.create(Path(directory, "venv"), with_pip=True)
        python = Path(directory, "venv", "bin", "python")
        install = (python, "-m", "pip", "install", "--quiet")
        check_call((*install, "--constraint", ROOT / "constraints.txt", wheel))
        check_call((python, "-I", "-c", f"import {', '.join(MODULES)}"))

        commands = run((python, "-I", "-m", "esbank"), capture_output=True, check=False, text=True)
        if (commands.returncode, commands.stdout, commands.stderr) != (2, "", HINT):
            sys.exit(f"python -m esbank does not say how to install its commands: {commands}")

        print(f"{wheel.name} is typed and imports with its core dependencies")


if __name__ == "__main__":
    main()
