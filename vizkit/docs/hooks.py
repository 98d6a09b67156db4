"""What the benchmarks write, shown in the pages without a second copy in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PICTURES = {
    "gradcam.png": BENCHMARKS / "pictures" / "gradcam.png",
    "explain.png": BENCHMARKS / "pictures" / "explain.png",
    "units.png": BENCHMARKS / "pictures" / "gallery.png",
    "traces.png": BENCHMARKS / "pictures" / "traces.png",
    "diagram.png": BENCHMARKS / "pictures" / "diagram.png",
    "study-saliency.png": BENCHMARKS / "studies" / "squeezenet1_0" / "saliency-squeezenet1_0.png",
    "study-layers.png": BENCHMARKS / "studies" / "squeezenet1_0" / "layers-squeezenet1_0.png",
}


def on_files(files: Any, config: Any) -> Any:
    """MkDocs calls it with the files of the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "speed.md", abs_src_path=str(BENCHMARKS / "SPEED.md")))
    for name, path in PICTURES.items():
        files.append(File.generated(config, f"pictures/measured/{name}", abs_src_path=str(path)))
    return files
