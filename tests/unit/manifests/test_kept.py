"""Readings on disk: unchanged files cost the next process no parsing, and nothing else changes."""

import pickle
from io import BytesIO

import pytest

from reconciler.kinds import KINDS
from reconciler.manifests.cache import ReadCache
from reconciler.manifests.kept import KeptReadings, Unpickler
from reconciler.manifests.load import LoadOptions, load
from reconciler.model.snapshot import Snapshot
from tests.fakes.trees import tree
from tests.unit.manifests.test_real_kinds import example

CANARY = "canary-in-a-manifest-91c3"


class Counting:
    """Contents that note which manifests are opened."""

    def __init__(self, contents):
        self.contents, self.read_paths = contents, []

    def read(self, file):
        if file.path != "reconciler.yaml" and file.path.endswith(".yaml"):
            self.read_paths.append(file.path)
        return self.contents.read(file)


def read(folder, files, environment=None, **code):
    """Read a tree as a process of its own would; return what it wants and which files were opened."""
    snapshot = tree(files)
    contents = Counting(snapshot.contents)
    snapshot = Snapshot(
        snapshot.revision, snapshot.digest, snapshot.files, snapshot.origin, contents
    )
    options = LoadOptions(
        environment=environment,
        secret_env={"RECONCILER_SECRET_TOKEN": CANARY},
        cache=ReadCache(KeptReadings(folder, **code)),
    )
    return load(snapshot, options, KINDS), contents.read_paths


def block(number, **data):
    return f"kind: Block\nblock_type_slug: process\nname: b{number}\ndata: {data or {}}\n"


def blocks(count):
    return {"reconciler.yaml": "name: x\n"} | {f"b{n:03}.yaml": block(n) for n in range(count)}


@pytest.mark.parametrize("environment", [None, "prod"])
def test_the_second_process_wants_the_same_and_opens_no_manifest(tmp_path, environment):
    first, opened = read(tmp_path, example(), environment)
    again, reopened = read(tmp_path, example(), environment)
    assert opened
    assert set(reopened) < set(opened)  # those that use secrets, whose values may have changed
    assert (again.declarations.keys(), again.digest) == (first.declarations.keys(), first.digest)
    plain, _ = read(tmp_path / "elsewhere", example(), environment)
    for key, one in plain.declarations.items():
        assert again.declarations[key].places == one.places
        assert repr(again.declarations[key]) == repr(one)


def test_a_changed_file_alone_is_opened(tmp_path):
    read(tmp_path, blocks(50))
    files = {**blocks(50), "b007.yaml": block(7, env={"A": "1"})}
    again, opened = read(tmp_path, files)
    assert opened == ["b007.yaml"]
    assert len(again.declarations) == 50


def test_what_was_read_under_another_policy_is_not_used(tmp_path):
    read(tmp_path, blocks(3))
    files = {**blocks(3), "reconciler.yaml": "name: x\nvars: {A: b}\n"}
    assert len(read(tmp_path, files)[1]) == 3


def test_what_other_code_has_read_is_not_used(tmp_path):
    for number, package in enumerate(("old", "new")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "kind.py").write_text("a" * (number + 1))
    for package, opened in (("old", 3), ("old", 0), ("new", 3)):
        assert len(read(tmp_path / "kept", blocks(3), package=tmp_path / package)[1]) == opened


def test_few_changes_are_not_written_down_and_many_are(tmp_path):
    def changed(count):
        return {f"b{n:03}.yaml": block(n, env={"A": f"{count}"}) for n in range(count)}

    read(tmp_path, blocks(100))
    for count, opened_again in ((5, 5), (6, 0)):
        assert len(read(tmp_path, {**blocks(100), **changed(count)})[1]) == count
        assert len(read(tmp_path, {**blocks(100), **changed(count)})[1]) == opened_again


def test_no_secret_is_written_down(tmp_path):
    secret = "secrets: [{env: RECONCILER_SECRET_}]\n"
    written_out = (
        "kind: Block\nblock_type_slug: azure-container-instance-job\nname: west\n"
        f"data: {{resource_group_name: g, image: i, subscription_id: {CANARY}}}\n"
    )
    files = {
        "reconciler.yaml": f"name: x\n{secret}",
        "a.yaml": block(1, env={"T": "${{ secrets.TOKEN }}"}),
        "b.yaml": block(2),
        "c.yaml": written_out,
    }
    want, _ = read(tmp_path, files)
    assert len(want.declarations) == 3
    assert read(tmp_path, files)[1] == ["a.yaml", "c.yaml"]
    for path in tmp_path.iterdir():
        assert CANARY.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


def call(module, name, *words):
    """A pickle that calls something with words, as protocol 4 finds it: dots lead into a module."""
    text = [b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name, *words)]
    return b"\x80\x04" + text[0] + text[1] + b"\x93(" + b"".join(text[2:]) + b"tR."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        pickle.dumps([1]),
        pickle.dumps({"b000.yaml": 3}),
        pickle.dumps({"b000.yaml": ("blob", "reading")}),
        call("os", "system", "touch harm"),
        call("reconciler.manifests.kept", "os.system", "touch harm"),
        call("reconciler.manifests.kept", "tempfile.TemporaryDirectory", "harm"),
        call("reconciler.manifests.kept", "Path", "harm"),
        call("reconciler.source.git.objects", "Popen", "harm"),
        call("reconciler.manifests.kept", "KeptReadings", "harm"),
    ],
)
def test_a_broken_or_forged_file_makes_nothing(tmp_path, content, monkeypatch):
    folder = tmp_path / "readings"
    read(folder, blocks(2))
    (kept,) = folder.iterdir()
    kept.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert len(read(folder, blocks(2))[1]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["readings"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "dict"),
        ("reconciler.manifests.kept", "Path"),
        ("reconciler.manifests.kept", "os.system"),
        ("reconciler.manifests.kept", "tempfile.TemporaryDirectory"),
        ("reconciler.manifests.kept", "KeptReadings"),
        ("reconciler.model.values", "Mapping"),
        ("reconciler.model.fingerprint", "sys.exit"),
        ("reconciler.model.values", "join"),
    ],
)
def test_only_plain_classes_are_found(module, name):
    with pytest.raises(pickle.UnpicklingError, match=f"{module}.{name}"):
        Unpickler(BytesIO()).find_class(module, name)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_to_is_not_used(tmp_path, mode):
    read(tmp_path, blocks(2))
    (kept,) = tmp_path.iterdir()
    kept.chmod(mode)
    assert len(read(tmp_path, blocks(2))[1]) == 2


def test_the_oldest_go(tmp_path):
    for number in range(12):
        read(tmp_path, {**blocks(1), "reconciler.yaml": f"name: x\nvars: {{A: '{number}'}}\n"})
    assert len(list(tmp_path.iterdir())) == 8


def test_a_folder_that_can_not_be_written_is_no_matter(tmp_path):
    (tmp_path / "file").write_text("")
    assert len(read(tmp_path / "file" / "x", blocks(2))[0].declarations) == 2
