"""Drawings, for those who have matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_kit.core.errors import EdgeKitError, MissingDependency, UsageError

SUFFIXES = (".svg", ".png")
ROW_INCHES, LEAST_INCHES, WIDTH_INCHES = 0.2, 2.0, 9.0


def check_plot(path: Path) -> None:
    """Make sure that a drawing can be made, before the work that it is of.

    Raises:
        UsageError: It is neither SVG nor PNG, or its folder does not exist.
        MissingDependency: There is no matplotlib.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--plot {str(path)!r} must end in .svg or .png")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {str(path)!r}: folder {str(path.parent)!r} does not exist")
    _pyplot()


def plot_ranking(report: dict[str, Any], path: Path) -> None:
    """Draw a bar a layer, the most harmful on top, on a logarithmic scale, in the colour of its operator.

    Raises:
        EdgeKitError: The file cannot be written.
    """
    pyplot = _pyplot()
    layers = report["layers"][::-1]
    kinds = sorted({one["operator"] for one in layers})
    with pyplot.rc_context({"svg.hashsalt": "edge-kit", "font.size": 8}):  # the same ranking gives the same bytes
        height = max(ROW_INCHES * len(layers), LEAST_INCHES)
        figure, axes = pyplot.subplots(figsize=(WIDTH_INCHES, height), layout="constrained")
        for kind in kinds:
            places = [place for place, one in enumerate(layers) if one["operator"] == kind]
            axes.barh(places, [layers[place]["noise"] for place in places], label=kind)
        axes.set_yticks(range(len(layers)), [one["node"] for one in layers])
        axes.set_ylim(-0.6, len(layers) - 0.4)
        if any(one["noise"] for one in layers):
            axes.set_xscale("log")
        axes.set_xlabel(f"noise over signal of the outputs, {report['samples']} calibration samples")
        axes.set_title(f"{report['id']} for {report['target']}: one layer at a time in INT8")
        if kinds:
            axes.legend(loc="lower right")
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise EdgeKitError(f"cannot write {str(path)!r} ({error.strerror}); give another --plot") from None
        finally:
            pyplot.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise MissingDependency("--plot", "matplotlib", "plot") from None
    matplotlib.use("Agg")  # no window system is needed to write a file
    import matplotlib.pyplot

    return matplotlib.pyplot
