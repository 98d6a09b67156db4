"""Loading the networks, running the sections, and writing folder and notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import results
from ...contract.backend import Model
from ...contract.errors import SettingError, check_known
from ...inputs import images
from ...support.progress import steps_bar
from ...zoo import loading as api
from ..page import Chapter, render
from ..page.folder import check, write
from . import notebook as notebooks
from .run import GENERATOR, ROLES, Run, words_of
from .sections import sections

FOLDER = "vizkit-homework"
PREFERRED = "gluon"
"""The homework is Gluon's; where MXNet is not installed, any other backend does it as well."""


def make(
    photo: str | os.PathLike[str] | None = None,
    *,
    models: Mapping[str, Model] | None = None,
    backend: str | None = None,
    weights: str | Mapping[str, str] = "imagenet",
    as_published: bool = False,
    language: str = "en",
    out: str | os.PathLike[str] = FOLDER,
    notebook: str | os.PathLike[str] | None = None,
    seed: int = 0,
    dream: Mapping[str, Any] | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Compute every section of the published notebook and the extensions, and write the folder ``out``.

    Sections: the photo; saliency of VGG19 and ResNet152; VGG19's architecture; weight[0] of each convolution; the last
    convolution's first filter; the first convolution's weights; 64 feature maps of the photo, and of a picture of
    noise; saliency, filters, feature maps and a dream of GoogLeNet. Where the notebook computed something else than it
    meant to (training mode, the sum of all logits, pixels in 0..1), both pictures are shown, and why they differ.

    Args:
        photo: an image file; None takes the bundled photo of a cat.
        models: networks of one's own in place of "vgg19", "resnet152" or "googlenet"; the others are loaded.
        backend: "gluon" or "torch"; None takes Gluon where it is installed.
        weights: as :func:`vizkit.load` has them, for all networks or by network, the rest being "imagenet".
        as_published: show first what the notebook computed, and after it the correct result.
        language: of the page: "en", or "zh" (Traditional Chinese, Taiwan).
        out: a folder that does not exist, is empty, or holds an earlier page of the homework and nothing else.
        notebook: also write the homework as a runnable notebook, an ``.ipynb`` file that does not exist or was written
            by vizkit.
        seed: of the dropout masks, the noise picture and the dream.
        dream: settings of :func:`vizkit.dream`; None is the published recipe.
        device: "cpu", "cuda" or "cuda:1".
        tell: called with messages for the user.

    Returns:
        The path of ``index.html``, which is written last.

    Raises:
        SettingError for a folder or file of somebody else's; ImageError, WeightsError and the like before anything is
        computed. A section that fails is reported in its place on the page.

    Example:
        >>> from vizkit import homework
        >>> homework.make("photo.jpg", weights="random:7", language="zh")  # doctest: +SKIP
    """
    words = words_of(language)
    folder = Path(out)
    script = None if notebook is None else notebooks.check(Path(notebook))
    picture = images.sample() if photo is None else Path(photo)
    images.read(picture)
    given = dict.fromkeys(ROLES, weights) if isinstance(weights, str) else weights
    _check(given)
    origin = {role: str(given.get(role, "imagenet")) for role in ROLES}
    earlier = check(folder, GENERATOR)
    loaded = _load(models or {}, backend or _preferred(), origin, device, tell or str)
    run = Run(loaded, picture, picture.name, words, as_published, seed, dict(dream or {}))
    plan = sections(run)
    if script is not None:
        recipes = notebooks.recipes(loaded, script.parent)
    with steps_bar("homework", len(plan)) as advance:
        done: list[Chapter] = []
        for key, title, one in plan:
            advance(len(done), title)
            done.append(run.finish(key, title, one))
            advance(len(done), "")
    index = write(folder, earlier, done, page(run, done, language, script))
    if script is not None:
        notebooks.write(script, run, done, recipes, language)
    return index


def weights_of(given: Sequence[str] | None) -> dict[str, str]:
    """``["random:7", "vgg19=FILE"]`` as weights by network: a name before the sign, or none for all the others.

    >>> weights_of(["random:7", "vgg19=mine.pth"])["vgg19"]
    'mine.pth'
    """
    found: dict[str, str] = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not sign or (name not in ROLES and not name.isidentifier()):
            name, value = "", one
        else:
            _check([name])
        if name in found:
            raise SettingError(f"--weights is given twice for {name or 'all networks'}: {found[name]} and {value}.")
        found[name] = value
    rest = found.pop("", "imagenet")
    return {role: found.get(role, rest) for role in ROLES}


def _check(roles: Iterable[str]) -> None:
    for role in roles:
        check_known("network of the homework", role, ROLES)


def _preferred() -> str | None:
    installed = [found.name for found in api.backends() if found.installed]
    return PREFERRED if PREFERRED in installed else None


def _load(
    models: Mapping[str, Model],
    backend: str | None,
    weights: Mapping[str, str],
    device: str,
    tell: Callable[[str], Any],
) -> dict[str, Model]:
    _check(models)
    loaded = {}
    with steps_bar("networks", len(ROLES)) as advance:
        for k, role in enumerate(ROLES):
            advance(k, role)
            loaded[role] = models.get(role) or api.load(role, backend=backend, weights=weights[role], device=device)
            if role not in models and weights[role] == "imagenet" and loaded[role].weights.note:
                tell(f"{role}: {loaded[role].weights.note}")
    return loaded


def page(run: Run, done: Sequence[Chapter], language: str, script: Path | None) -> str:
    """The page's text. It names no date and no folder, so that the same run gives the same bytes."""
    first = run.models["vgg19"]
    order = run.say("order.published" if run.as_published else "order.correct")
    if any(model.weights.source.startswith("random") for model in run.models.values()):
        order += " " + run.say("untrained")
    versions = results.provenance(first, "homework", {})["versions"]
    facts = [
        (run.say("fact.photo"), run.photo_name),
        (run.say("fact.backend"), f"{first.backend}, {first.device}, {first.dtype}"),
        (run.say("fact.versions"), ", ".join(f"{name} {version}" for name, version in versions.items())),
        *(
            (run.say("fact.network"), f"{one.name}, {Path(one.weights.source).name}, {one.sha256()}")
            for one in dict.fromkeys(run.models.values())
        ),
        (run.say("fact.seed"), str(run.seed)),
        *(((run.say("fact.notebook"), script.name),) if script else ()),
    ]
    command = ["vizkit homework", run.photo_name, f"--backend {first.backend}"]
    sources = {role: Path(model.weights.source).name for role, model in run.models.items()}
    if len(set(sources.values())) == 1:
        command.append(f"--weights {sources['vgg19']}")
    else:
        command += [f"--weights {role}={source}" for role, source in sources.items()]
    command += ["--as-published"] * run.as_published + [f"--seed {run.seed}", f"--language {language}"]
    command += [f"--notebook {script.name}"] if script else []
    return render(
        run.say("title", photo=run.photo_name),
        run.say("lead", backend=first.backend, photo=run.photo_name, order=order),
        facts,
        done,
        " ".join(command),
        generator=GENERATOR,
        language=language,
    )
