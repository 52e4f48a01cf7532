"""Makes thumbnails of all images of a folder; without one, of the photographs that scikit-image ships.

    python -m examples.thumbnails [folder of images] [folder for the thumbnails]

Images are read and written by the workers; only the names and sizes travel.
"""

import sys
import tempfile
from concurrent.futures import Future, as_completed
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scaler import Client, SchedulerClusterCombo

N_WORKERS = 2
EDGE = 128
"""Longest edge in pixels."""
SUFFIXES = {".jpg", ".jpeg", ".png"}

Size = tuple[int, int]


def make_thumbnail(source: Path, target: Path) -> tuple[Size, Size]:
    """Write a thumbnail of one image, upright; return the sizes before and after."""
    with Image.open(source) as image:
        before = image.size
        thumbnail = ImageOps.exif_transpose(image.convert("RGB"))
    thumbnail.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    thumbnail.save(target, quality=85)
    return before, thumbnail.size


def main(arguments: list[str]) -> int:
    """Make them and show what was made; 0 when all could be made."""
    console = Console()
    sources = sorted(path for path in source_folder(arguments).iterdir() if path.suffix.lower() in SUFFIXES)
    with tempfile.TemporaryDirectory() as folder:
        targets = Path(arguments[1] if len(arguments) > 1 else folder)
        targets.mkdir(parents=True, exist_ok=True)
        failed = make_all(sources, targets, console)
        console.print(f"{len(list(targets.glob('*.jpg')))} thumbnails of {len(sources)} images in {targets}")
    return 1 if failed or not sources else 0


def make_all(sources: list[Path], targets: Path, console: Console) -> int:
    """Make thumbnails of `sources` in the folder `targets`; return how many could not be made."""
    table = Table("image", "size", "thumbnail")
    failed = 0
    with SchedulerClusterCombo(N_WORKERS, logging_level="WARNING") as combo, Client(combo.get_address()) as client:
        names: dict[Future[tuple[Size, Size]], str] = {
            client.submit(make_thumbnail, source, targets / f"{source.name}.jpg"): source.name for source in sources
        }
        for future in track(as_completed(names), "making thumbnails", total=len(names), console=console):
            try:
                before, after = future.result()
            except OSError as error:
                failed += 1
                table.add_row(names[future], "not an image", str(error))
            else:
                table.add_row(names[future], "{}x{}".format(*before), "{}x{}".format(*after))
    console.print(table)
    return failed


def source_folder(arguments: list[str]) -> Path:
    """Return the folder that was named, or where scikit-image keeps its photographs."""
    if arguments:
        return Path(arguments[0])
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("name a folder with images, or: pip install scikit-image")
    return Path(package.origin).with_name("data")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
