"""Run notebooks from top to bottom and save them with what they print and draw.

python scripts/notebooks.py                          # all notebooks
python scripts/notebooks.py notebooks/2-*.ipynb      # some of them

Run it after every change of a notebook's code. The tests compare the digest that it stores.
"""

import argparse
import base64
import hashlib
import io
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"


def execute(path, timeout=600):
    """Return a notebook as it is after a run from top to bottom, in a fresh kernel."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=timeout, resources=resources, coalesce_streams=True).execute()
    return notebook


def get_digest(notebook):
    """Return a digest of the code of a notebook: of its code cells, in order."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def shrink(png):
    """Return a picture (base64 of PNG) with 128 colours: a third of the bytes, and no difference to see."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def save(notebook, path):
    """Write an executed notebook, without what differs from run to run though the code is the same."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "executed_code": get_digest(notebook),
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = shrink(data["image/png"])
    nbformat.write(notebook, path)


def main():
    """Run the notebooks that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="save there, not in place")
    args = parser.parse_args()
    for path in args.paths:
        saved = path if args.to is None else args.to / path.name
        start = time.perf_counter()
        save(execute(path), saved)
        seconds = time.perf_counter() - start
        print(f"{path.name}: {seconds:.0f} s, {saved.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
