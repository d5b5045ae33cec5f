"""What programs may rely on: the public names, the exception tree, and that all is explained."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

import zv_versioned as zvv
from zv_versioned import errors

NAMES = [
    "ArrayError",
    "Batch",
    "Collection",
    "CommitInfo",
    "CommitLog",
    "CommitResult",
    "Compaction",
    "ConflictError",
    "Dataset",
    "Expiry",
    "Finding",
    "FsckReport",
    "Geometry",
    "IntegrityError",
    "Lease",
    "Level",
    "LevelStats",
    "MetadataError",
    "MissingExtraError",
    "NotFoundError",
    "ReadOnlyError",
    "Repository",
    "Stats",
    "StorageError",
    "StorageStats",
    "Transaction",
    "View",
    "ViolationError",
    "ZVError",
    "ZVWriter",
]
KINDS = {
    "ZVError": ("error", (Exception,)),
    "ArrayError": ("array", (zvv.ZVError, ValueError)),
    "MetadataError": ("metadata", (zvv.ZVError, ValueError)),
    "NotFoundError": ("not_found", (zvv.ZVError, LookupError)),
    "ReadOnlyError": ("read_only", (zvv.ZVError,)),
    "ConflictError": ("conflict", (zvv.ZVError,)),
    "ViolationError": ("violation", (zvv.ZVError,)),
    "IntegrityError": ("integrity", (zvv.ZVError,)),
    "StorageError": ("storage", (zvv.ZVError,)),
    "MissingExtraError": ("missing_extra", (zvv.ZVError, ImportError)),
}
CLASSES = [name for name in NAMES if name not in KINDS]
# The writer's verbs: a coroutine, and the same for scripts.
VERBS = [
    "abort",
    "add_attribute",
    "add_face_attribute",
    "add_group",
    "add_link_attribute",
    "add_node_attribute",
    "add_object_attribute",
    "append_graph",
    "append_lines",
    "append_mesh",
    "append_polylines",
    "append_vertices",
    "commit",
    "compact",
    "drop_attribute",
    "remove_group",
    "remove_objects",
    "set_metadata",
]


def test_the_public_names_are_these_in_this_order() -> None:
    assert zvv.__all__ == NAMES == sorted(NAMES)


def test_every_public_name_is_there() -> None:
    assert [name for name in NAMES if not hasattr(zvv, name)] == []


def test_a_star_import_brings_the_public_names_and_nothing_else() -> None:
    namespace: dict[str, Any] = {}
    exec("from zv_versioned import *", namespace)
    assert sorted(namespace.keys() - {"__builtins__"}) == NAMES


@pytest.mark.parametrize("name", KINDS)
def test_an_error_keeps_its_kind_and_its_place_in_the_tree(name: str) -> None:
    kind, bases = KINDS[name]
    cls = getattr(zvv, name)
    assert cls.kind == kind
    assert cls.__bases__ == bases


def test_the_tree_of_errors_is_complete_and_its_kinds_are_unique() -> None:
    in_tree = [
        cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, Exception)
    ]
    assert {cls.__name__ for cls in in_tree} == KINDS.keys()
    assert len({cls.kind for cls in in_tree}) == len(KINDS)
    assert errors.__all__ == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_the_module_draws_every_error_with_its_second_base(name: str) -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if name in line]
    assert len(drawn) == 1
    for base in KINDS[name][1]:
        assert base in (zvv.ZVError, Exception) or f"({base.__name__})" in drawn[0]


@pytest.mark.parametrize("name", KINDS)
def test_an_error_crosses_to_another_process(name: str) -> None:
    error = getattr(zvv, name)("what, value, remedy")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == "what, value, remedy"


def test_a_conflict_keeps_both_sides_in_another_process() -> None:
    error = zvv.ConflictError("moved", what="branch", where="main", ours="A", theirs="B")
    again = pickle.loads(pickle.dumps(error))
    assert (again.what, again.where, again.ours, again.theirs) == ("branch", "main", "A", "B")


def _public(cls: type) -> list[tuple[str, Any]]:
    """What a class and those of ours that it is made of have under names without underscore."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("zv_versioned")]
    return [
        (name, thing)
        for base in ours
        for name, thing in vars(base).items()
        if not name.startswith("_")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_everything_public_is_explained(name: str) -> None:
    cls = getattr(zvv, name)
    bare = [] if cls.__doc__ else [name]
    if not inspect.isclass(cls):
        pytest.fail(f"{name} is no class")
    for member, thing in _public(cls):
        is_code = (
            callable(thing)
            or isinstance(thing, (property, classmethod, staticmethod))
            or hasattr(thing, "func")
        )
        if is_code and not inspect.getdoc(getattr(cls, member)):
            bare.append(f"{name}.{member}")
    assert bare == []


@pytest.mark.parametrize("name", CLASSES)
def test_public_signatures_are_typed_throughout(name: str) -> None:
    cls = getattr(zvv, name)
    untyped = []
    for member, thing in _public(cls):
        function = thing.__func__ if isinstance(thing, classmethod) else thing
        function = function.fget if isinstance(function, property) else function
        if inspect.isfunction(function):
            parameters = list(inspect.signature(function).parameters.values())[1:]
            empty = [p.name for p in parameters if p.annotation is p.empty]
            if empty or "return" not in function.__annotations__:
                untyped.append((member, empty))
    assert untyped == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_of_the_writer_is_a_coroutine_with_a_twin_for_scripts(verb: str) -> None:
    plain, twin = getattr(zvv.ZVWriter, verb), getattr(zvv.ZVWriter, f"{verb}_sync")
    assert inspect.iscoroutinefunction(plain)
    assert not inspect.iscoroutinefunction(twin)
    assert inspect.signature(plain).parameters == inspect.signature(twin).parameters


def test_no_verb_of_the_writer_lacks_its_twin() -> None:
    names = {name for name, thing in _public(zvv.ZVWriter) if inspect.isfunction(thing)}
    assert names == set(VERBS) | {f"{verb}_sync" for verb in VERBS}


@pytest.mark.parametrize(
    "cls",
    [
        zvv.Repository,
        zvv.View,
        zvv.Dataset,
        zvv.Level,
        zvv.Geometry,
        zvv.CommitLog,
        zvv.CommitResult,
        zvv.Transaction,
    ],
)
def test_what_is_shown_in_a_notebook_shows_itself(cls: type) -> None:
    assert "__repr__" in vars(cls)
    assert "_repr_html_" in vars(cls)


def test_the_writers_names_of_the_field_are_those_of_the_seed() -> None:
    parameters = inspect.signature(zvv.ZVWriter.append_vertices_sync).parameters
    assert list(parameters)[:6] == [
        "self",
        "positions",
        "object_ids",
        "dtype",
        "attributes",
        "out_of_bounds",
    ]
    kinds = [parameter.kind for parameter in parameters.values()]
    assert set(kinds[2:]) == {inspect.Parameter.KEYWORD_ONLY}
