from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossicle.data.manifest import Clip, Manifest


def clip(name, *labels, fold=None, group="", **more):
    return Clip(Path("/sounds") / name, name, labels, fold, group, **more)


def made(n=24, classes=3, folds=4, per_group=2):
    """Clips whose recordings hold `per_group` clips of one class, dealt into folds in turn."""
    recordings = [i // per_group for i in range(n)]
    return Manifest.of(
        "made",
        [clip(f"{i}.wav", f"c{r % classes}", fold=r % folds + 1, group=f"r{r}") for i, r in enumerate(recordings)],
    )


def test_split_parts_are_disjoint_and_complete():
    manifest = made()
    for fold in (*manifest.folds, None):
        for valid in (*(f for f in manifest.folds if f != fold), "next", None):
            parts = manifest.split(fold, valid)
            names = [c.name for part in (parts.train, parts.valid, parts.test) for c in part.clips]
            assert sorted(names) == sorted(c.name for c in manifest.clips)
            assert {c.fold for c in parts.test.clips} == ({fold} if fold else set())
            assert all(part.classes == manifest.classes for part in (parts.train, parts.valid, parts.test))


def test_next_is_cyclic_and_never_the_test_fold():
    manifest = made()
    found = {fold: {c.fold for c in manifest.split(fold, "next").valid.clips} for fold in (None, 1, 2, 3, 4)}
    assert found == {None: {1}, 1: {2}, 2: {3}, 3: {4}, 4: {1}}


def test_next_passes_over_folds_that_cannot_be_scored():
    clips = [clip("bare", fold=1), *(clip(f"{fold}", "x", fold=fold) for fold in (2, 4)), clip("far", fold=3)]
    manifest = Manifest.of("mixed", clips)
    assert manifest.scorable == (2, 4)
    found = {fold: [c.fold for c in manifest.split(fold, "next").valid.clips] for fold in (None, 1, 2, 3, 4)}
    assert found == {None: [2], 1: [2], 2: [4], 3: [4], 4: [2]}
    assert manifest.unlabelled().scorable == manifest.folds


@pytest.mark.parametrize("fold", [0, 5, -1, "1", True, 1.5, "next"])
def test_unknown_fold_is_refused_with_the_known_ones(fold):
    with pytest.raises(ValueError, match=r"has no fold .*known: 1, 2, 3, 4"):
        made().split(fold)


def test_split_refuses_what_has_no_sense():
    with pytest.raises(ValueError, match="both test and validation"):
        made().split(2, 2)
    with pytest.raises(ValueError, match="with_folds"):
        Manifest.of("bare", [clip("a.wav")]).split(1)
    with pytest.raises(ValueError, match="both test and validation"):
        Manifest.of("one", [clip("a.wav", "x", fold=1)]).split(1, "next")


def test_clips_without_fold_train_and_unlabelled_ones_stay_in_their_fold():
    clips = [clip("a", "x", fold=1), clip("b", "y", fold=2), clip("pool"), clip("bare", fold=1)]
    parts = Manifest.of("mixed", clips).split(1)
    assert [c.name for c in parts.train.clips] == ["b", "pool"]
    assert [c.name for c in parts.test.clips] == ["a"]
    assert "1 clip of fold 1 without a label" in parts.test.notes[-1]


def test_forgetting_labels_does_not_move_a_test_clip_into_training():
    manifest = made()
    assert manifest.unlabelled().split(1).train.keys().tolist() == manifest.split(1).train.keys().tolist()
    assert len(manifest.unlabelled().split(1).test) == len(manifest.split(1).test)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=40), st.integers(1, 6))
def test_few_draws_every_recording_before_any_twice(pairs, per_class):
    manifest = Manifest.of("some", [clip(f"{i}", f"c{k}", group=f"{k}-{g}") for i, (k, g) in enumerate(pairs)])
    chosen = manifest.few(per_class, seed=3)
    for label in manifest.classes:
        own = [c for c in manifest.clips if label in c.labels]
        drawn = [c.group for c in chosen.clips if label in c.labels]
        assert len(drawn) == min(per_class, len(own))
        counts = {g: drawn.count(g) for g in {c.group for c in own}}
        waiting = [g for g, n in counts.items() if n < sum(c.group == g for c in own)]
        assert not waiting or max(counts.values()) <= min(counts[g] for g in waiting) + 1
        told = f"class {label!r} has {len(own)} clip{'s' * (len(own) != 1)}, fewer"
        assert any(told in note for note in chosen.notes) == (len(own) < per_class)


def test_few_is_nested_and_follows_its_seed():
    manifest = made(n=60)
    small, large = manifest.few(2, seed=1), manifest.few(5, seed=1)
    assert set(small.keys()) < set(large.keys())
    assert manifest.few(2, seed=1) == small
    assert len({manifest.few(2, seed=s).fingerprint() for s in range(8)}) > 1


def test_few_of_a_class_does_not_depend_on_the_other_classes():
    manifest = made(n=60)
    alone = manifest.select([i for i, c in enumerate(manifest.clips) if c.labels == ("c0",)])
    mixed = {c.name for c in manifest.few(3).clips if c.labels == ("c0",)}
    assert mixed == {c.name for c in alone.few(3).clips}


def test_few_multilabel_gives_at_least_that_many_and_some_silence():
    clips = [clip(f"{i}", *(f"c{k}" for k in range(3) if i >> k & 1), no_event=i % 8 == 0) for i in range(40)]
    chosen = Manifest.of("many", clips).few(4)
    assert all(sum(label in c.labels for c in chosen.clips) >= 4 for label in chosen.classes)
    assert sum(c.no_event for c in chosen.clips) == 4


def test_few_never_draws_unlabelled_clips_and_refuses_none():
    manifest = Manifest.of("half", [clip("a", "x"), clip("b", "y"), clip("c")])
    assert {c.name for c in manifest.few(9).clips} == {"a", "b"}
    with pytest.raises(ValueError, match="asks for no clips"):
        manifest.few(0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 11), min_size=6, max_size=60), st.integers(2, 4), st.integers(0, 9))
def test_folds_we_make_never_split_a_recording(groups, n, seed):
    manifest = Manifest.of("g", [clip(f"{i}", f"c{g % 3}", group=f"{g}") for i, g in enumerate(groups)])
    if len(set(groups)) < n:
        with pytest.raises(ValueError, match="cannot be dealt"):
            manifest.with_folds(n, seed)
        return
    dealt = manifest.with_folds(n, seed)
    homes = {}
    for c in dealt.clips:
        homes.setdefault(c.group, set()).add(c.fold)
    assert all(len(folds) == 1 for folds in homes.values())
    assert {f for folds in homes.values() for f in folds} == set(range(1, n + 1)) == set(dealt.folds)


def test_folds_we_make_are_stratified_and_follow_their_seed():
    manifest = Manifest.of("even", [clip(f"{i}", f"c{i % 4}") for i in range(80)])
    dealt = manifest.with_folds(5)
    for fold in dealt.folds:
        counts = [sum(c.fold == fold and c.labels == (k,) for c in dealt.clips) for k in dealt.classes]
        assert counts == [4, 4, 4, 4]
    assert manifest.with_folds(5, seed=1) != dealt == manifest.with_folds(5)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 11), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 9))
def test_what_is_held_out_is_no_more_than_the_share_of_any_class_and_no_torn_recording(groups, share, seed):
    manifest = Manifest.of("g", [clip(f"{i}", f"c{i % 3}", group=f"{g}") for i, g in enumerate(groups)])
    held = manifest.hold_out(share, seed)
    assert not {groups[i] for i in np.flatnonzero(held)} & {groups[i] for i in np.flatnonzero(~held)}
    for k in range(3):
        own = held[manifest.targets() == k] if f"c{k}" in manifest.classes else held[:0]
        assert own.sum() <= share * len(own) + 0.5
    assert held.all() or share < 1
    assert not held.any() or share > 0


def test_what_is_held_out_is_the_nearest_to_the_share_where_recordings_are_clips_and_follows_its_seed():
    manifest = Manifest.of("even", [clip(f"{i}", f"c{i % 4}") for i in range(80)])
    held = manifest.hold_out(0.15)
    assert [sum(held[k::4]) for k in range(4)] == [3, 3, 3, 3]
    assert (held <= manifest.hold_out(0.3)).all()
    assert (held != manifest.hold_out(0.15, seed=1)).any()


def test_recordings_without_labels_get_no_fold_unless_none_has_labels():
    clips = [clip(f"{i}", "xy"[i % 2], group=f"g{i}") for i in range(6)]
    clips += [clip("p", group="pool"), clip("sibling", group="g0")]
    dealt = {c.name: c.fold for c in Manifest.of("m", clips).with_folds(2).clips}
    assert dealt["p"] is None
    assert dealt["sibling"] == dealt["0"] is not None
    bare = Manifest.of("bare", [clip(f"{i}") for i in range(10)]).with_folds(5)
    assert sorted(c.fold for c in bare.clips) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_targets():
    single = Manifest.of("s", [clip("a", "x"), clip("b"), clip("c", "w")])
    assert single.targets().tolist() == [1, -1, 0]
    assert single.targets().dtype == np.int64
    many = Manifest.of("m", [clip("a", "x", "y"), clip("b"), clip("c", no_event=True)])
    assert many.multilabel
    assert many.targets().dtype == np.float32
    np.testing.assert_array_equal(many.targets(), [[1, 1], [np.nan, np.nan], [0, 0]])


def test_a_manifest_must_make_sense():
    with pytest.raises(ValueError, match="none of its 1 classes"):
        Manifest("m", (clip("a", "dog"),), ("cat",))
    with pytest.raises(ValueError, match="multilabel=True"):
        Manifest("m", (clip("a", "cat", "dog"),), ("cat", "dog"))


def test_select_takes_rows_and_masks():
    manifest = made()
    mask = np.arange(len(manifest)) % 5 == 0
    assert manifest.select(mask) == manifest.select(np.flatnonzero(mask))
    assert [c.name for c in manifest.select([3, 1]).clips] == ["3.wav", "1.wav"]
    assert len(manifest.select([])) == 0


@pytest.mark.parametrize(
    "change", [{"name": "n"}, {"labels": ("c1",)}, {"fold": 2}, {"group": "q"}, {"start": 1.0}, {"stop": 2.0}]
)
def test_fingerprint_notices_what_matters_and_only_that(change):
    from dataclasses import replace

    manifest = made()
    changed = (replace(manifest.clips[0], **change), *manifest.clips[1:])
    assert replace(manifest, clips=changed).fingerprint() != manifest.fingerprint()
    moved = (replace(manifest.clips[0], path=Path("/elsewhere.wav"), meta={"a": 1}), *manifest.clips[1:])
    assert replace(manifest, clips=moved, notes=("read",)).fingerprint() == manifest.fingerprint()


def test_fingerprint_is_stable():
    """Runs on disk compare with it, so a change of it is a change of format."""
    assert (
        Manifest.of("n", [clip("a b.wav", "x", fold=1, group="r")]).fingerprint() == "b65cbfd0da731ac5578bdca87ebf8284"
    )


def test_merge_keeps_a_file_once_and_in_one_fold():
    official = Manifest.of("official", [clip("a", "x", fold=1, group="r"), clip("b", "y", fold=2)])
    pool = Manifest.of("pool", [Clip(Path("/sounds/a"), "other/a"), Clip(Path("/sounds/b"), "b", start=1.0), clip("c")])
    for both in (official + pool, pool + official):
        where = {(c.path.name, c.start): (c.labels, c.fold) for c in both.clips}
        assert where == {("a", 0.0): (("x",), 1), ("b", 0.0): (("y",), 2), ("b", 1.0): ((), 2), ("c", 0.0): ((), None)}
        assert len(both) == 4
        assert any("kept once" in note for note in both.notes)


def test_merge_tells_equal_names_of_different_files_apart():
    one = Manifest.of("one", [Clip(Path("/1/a"), "a", ("x",))])
    two = Manifest.of("two", [Clip(Path("/2/a"), "a", ("y",))])
    both = one + two
    assert [c.name for c in both.clips] == ["a", "two/a"]
    assert len(set(both.keys())) == 2
    assert both.classes == ("x", "y")


def test_merge_refuses_contradictions():
    one, two = Manifest.of("one", [clip("a", "x")]), Manifest.of("two", [clip("a", "y")])
    with pytest.raises(ValueError, match="stands in both"):
        one + two


def test_merge_of_single_and_multilabel_is_multilabel():
    both = Manifest.of("s", [clip("a", "x")]) + Manifest.of("m", [clip("b", "x", "y"), clip("c", no_event=True)])
    np.testing.assert_array_equal(both.targets(), [[1, 0], [1, 1], [0, 0]])


def test_keys_name_clips_not_paths():
    assert clip("a").key == Clip(Path("/else/a"), "a").key
    assert len({clip("a").key, clip("a", start=1.0).key, clip("a", stop=1.0).key, clip("b").key}) == 4
