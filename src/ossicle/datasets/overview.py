"""What Manifests hold, counted: the numbers behind `ossicle data`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from statistics import median
from typing import Any

from ossicle.data import audit
from ossicle.data.audit import Alike
from ossicle.data.intake import Problem, look_over, told
from ossicle.data.manifest import Manifest
from ossicle.words import plural


def summary(manifest: Manifest, *, listen: bool = False, alike: Alike | None = None) -> dict[str, Any]:
    """Counts, durations, rates, leaks and problems as values for JSON. Reads the header of every file.

    `classes` and `folds` map names to clips, `sample_rates`, `channels` and `formats` to files; `unreadable` lists
    files without a readable header, `problems` are those of training on the whole set. `listen` decodes every file and
    finds copies by what they sound like; `alike` is what was found so before.
    """
    alike = alike or Alike.among([manifest], listen=listen)
    leaks = (
        *audit.by_recording(manifest),
        *audit.by_content(manifest, alike.content),
        *audit.by_sound(manifest, alike.sound or {}),
    )
    return {
        "name": manifest.name,
        "fingerprint": manifest.fingerprint(),
        "clips": len(manifest),
        "recordings": len({clip.recording for clip in manifest.clips}),
        "labelled": len(manifest.labelled()),
        "no_event": sum(clip.no_event for clip in manifest.clips),
        "multilabel": manifest.multilabel,
        "classes": {label: sum(label in clip.labels for clip in manifest.clips) for label in manifest.classes},
        "folds": {fold: sum(clip.fold == fold for clip in manifest.clips) for fold in manifest.folds},
        **_sound(manifest),
        "leaks": [asdict(leak) for leak in leaks],
        "problems": [asdict(problem) for problem in look_over(manifest, purpose=_purpose(manifest))],
    }


def compared(manifests: Sequence[Manifest], *, listen: bool = False) -> dict[str, Any]:
    """`sets`: the summary of each; `shared`: what any two have in common, by recording, content and, if asked, sound.

    `unheard` are the files that could not be listened to, with the reason.
    """
    alike = Alike.among(manifests, listen=listen)
    shared = [common for one, other in combinations(manifests, 2) for common in audit.between(one, other, alike)]
    return {
        "sets": [summary(manifest, alike=alike) for manifest in manifests],
        "shared": [asdict(common) for common in shared],
        "unheard": {str(path): reason for path, reason in alike.unheard.items()},
    }


def _purpose(manifest: Manifest) -> Any:
    return "train" if manifest.classes else "pretrain"


def _sound(manifest: Manifest) -> dict[str, Any]:
    """Seconds of each clip and rates of each file, from the headers."""
    from ossicle import audio

    length: dict[Any, float] = {}
    rates: Counter[int] = Counter()
    channels: Counter[int] = Counter()
    formats: Counter[str] = Counter()
    size, bad = 0, []
    for path in dict.fromkeys(clip.path for clip in manifest.clips):
        try:
            info = audio.probe(path)
        except audio.AudioError as error:
            bad.append(str(error))
            continue
        length[path] = info.seconds
        size += path.stat().st_size
        rates[info.sample_rate] += 1
        channels[info.channels] += 1
        formats[info.format] += 1
    known = [clip for clip in manifest.clips if clip.path in length]
    seconds = [max(0.0, min(length[c.path], c.stop or length[c.path]) - c.start) for c in known] or [0.0]
    return {
        "seconds": {
            "total": sum(seconds),
            "shortest": min(seconds),
            "median": median(seconds),
            "longest": max(seconds),
        },
        "bytes": size,
        "sample_rates": dict(sorted(rates.items())),
        "channels": dict(sorted(channels.items())),
        "formats": dict(formats.most_common()),
        "unreadable": bad,
    }


def described(found: dict[str, Any]) -> str:
    """A summary as text for people."""
    length = found["seconds"]
    lines = [
        f"{found['name']}: {plural(found['clips'], 'clip')} of {plural(found['recordings'], 'recording')}, "
        f"{found['labelled']} labelled",
        f"  sound     {length['total'] / 3600:.2f} h; clips of {length['shortest']:.2f} to {length['longest']:.2f} s",
        f"  files     {_counts(found['formats'])}; {_counts(found['sample_rates'], ' Hz')}",
    ]
    if found["classes"] or found["no_event"]:
        silent = {"(no event)": found["no_event"]} if found["no_event"] else {}
        lines.append(f"  classes   {_counts({**found['classes'], **silent})}")
    if found["folds"]:
        lines.append(f"  folds     {_counts(found['folds'])}")
    lines.append(f"  leaks     {len(found['leaks']) or 'none found'}")
    lines += [f"  unreadable  {reason}" for reason in found["unreadable"]]
    lines += [f"  warn      {sentence}" for sentence in heard_alike(found)]
    for severity in ("refuse", "warn", "note"):
        problems = [Problem(**problem) for problem in found["problems"] if problem["severity"] == severity]
        lines += [f"  {severity:8}  {line}" for line in told(problems).splitlines()]
    return "\n".join(line.encode("utf-8", "backslashreplace").decode() for line in lines)


def heard_alike(found: dict[str, Any]) -> list[str]:
    """Sentences on the leaks of a summary that only listening finds; look_over tells of the others."""
    alike = [leak for leak in found["leaks"] if leak["kind"] == "sound"]
    return [f"{' = '.join(leak['clips'])}: one sound in folds {', '.join(map(str, leak['folds']))}" for leak in alike]


def _counts(counts: dict[Any, int], unit: str = "") -> str:
    return ", ".join(f"{name}{unit}: {n}" for name, n in counts.items()) or "none"
