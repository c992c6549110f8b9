"""Whether a rule can disturb anything: its APIs, versions and listener beside those that are served.

Responsible for: one sentence for a rule that no request can trigger, or whose effect its answers have no place for.
Must not depend on: armed rules, a broker, whether topics, groups and clients exist, which may come later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from kwire.broker.requests.table import Api, ApiTable
from kwire.faults import placement
from kwire.faults.rewriting import fields_of, fits
from kwire.faults.rules import CorruptRecords, Error, Rewrite, Rule, RuleError, Scope, Stale, did_you_mean
from kwire.faults.subjects import KINDS, kinds_named
from kwire.wire.codec import api_keys, api_name, request_class, response_class
from kwire.wire.spec import walk

_FETCH: Final = 1


def check_reach(rule: Rule, tables: Mapping[str, ApiTable]) -> None:
    """Check a rule against what is served, by the name of each listener. Raises RuleError.

    A rule may name several APIs; each of them must be served at one of its versions, and have its effect.
    """
    scope = rule.scope
    if scope.listener is not None and scope.listener not in tables:
        known = ", ".join(tables)
        raise RuleError(f"there is no listener {scope.listener!r}, only {known}{did_you_mean(scope.listener, tables)}")
    chosen = [tables[scope.listener]] if scope.listener is not None else list(tables.values())
    check_effect(rule, chosen)


def check_effect(rule: Rule, tables: Collection[ApiTable]) -> None:
    """Check a rule against the tables of the listeners that it applies to. Raises RuleError."""
    scope, effect = rule.scope, rule.effect
    names_all = len(scope.apis) == len(api_keys())
    apis = _all_served(scope, tables) if names_all else [_served(scope, key, tables) for key in sorted(scope.apis)]
    if isinstance(effect, Rewrite):
        _check_values(effect, scope, apis)
    if names_all:
        if isinstance(effect, Stale):
            raise RuleError("stale needs an api, such as Metadata")
        if isinstance(effect, CorruptRecords):
            raise RuleError("corrupt_records needs an api, such as Fetch")
        return
    for api in apis:
        _check_api(rule, api)


def _all_served(scope: Scope, tables: Collection[ApiTable]) -> list[Api]:
    """Every API with a version of the scope."""
    apis = [api for table in tables for api in table.values() if _versions(scope, api)]
    if not apis:
        raise RuleError(f"no API is served at {_text(scope.versions)}")
    return apis


def _served(scope: Scope, key: int, tables: Collection[ApiTable]) -> Api:
    """An API of the scope, of the first listener that serves it at a version of the scope."""
    found = [table[key] for table in tables if key in table and table[key].served[0] <= table[key].served[1]]
    if not found:
        raise RuleError(f"{api_name(key)} is not served{_at(scope)}")
    for api in found:
        if _versions(scope, api):
            return api
    (lowest, highest), name = found[0].served, found[0].name
    raise RuleError(f"{name} is served at {_text((lowest, highest))}{_at(scope)}, not at {_text(scope.versions)}")


def _check_api(rule: Rule, api: Api) -> None:
    scope, effect, key = rule.scope, rule.effect, api.key
    known = kinds_named(request_class(key))
    if isinstance(effect, (Error, Rewrite)) and placement.only_reads(key):
        known |= kinds_named(response_class(key))
    for kind in sorted(KINDS):
        if getattr(scope, kind) is not None and kind not in known:
            raise RuleError(f"a request of {api.name} names no {kind.replace('_', ' ')}")
    if isinstance(effect, Error):
        _check_place(effect, scope, api)
    if isinstance(effect, Stale) and (key == _FETCH or not placement.only_reads(key)):
        raise RuleError(f"stale is for requests that only read, such as Metadata; {api.name} is none")
    if isinstance(effect, CorruptRecords) and not _answers_records(api):
        raise RuleError(f"corrupt_records is for answers with records, such as those of Fetch; {api.name} has none")


def _check_values(effect: Rewrite, scope: Scope, apis: Collection[Api]) -> None:
    """Raise RuleError unless each value has a field, of its type, in an answer at a version of the scope."""
    known = {}
    for api in apis:
        for version in _versions(scope, api):
            known.update(fields_of(response_class(api.key), version))
    for name, value in effect.values.items():
        if name not in known:
            raise RuleError(f"no answer has a field {name!r} that can be set{did_you_mean(name, known)}")
        if not fits(known[name], value):
            raise RuleError(f"the field {name} is of type {known[name].type}, which {value!r} is not")


def _check_place(error: Error, scope: Scope, api: Api) -> None:
    version = _versions(scope, api)[-1]
    path = placement.level_named(api.key, version, error.level, partition=scope.partition is not None)
    if path is None:
        where = "" if error.level is None else f" at the level {error.level!r}"
        raise RuleError(f"the response of {api.name} v{version} has no place for an error{where}")
    item_by_item = bool(path) and not error.done and not placement.only_reads(api.key)
    if item_by_item and not placement.can_take(api.key, version, path):
        raise RuleError(f"items of {api.name} cannot be refused one by one: use drop, close, or done with the error")


def _answers_records(api: Api) -> bool:
    return any(field.type == "records" for _, field in walk(response_class(api.key).FIELDS))


def _versions(scope: Scope, api: Api) -> range:
    """The versions of an API that are served and in the scope."""
    lowest, highest = scope.versions or api.served
    return range(max(lowest, api.served[0]), min(highest, api.served[1]) + 1)


def _text(versions: tuple[int, int] | None) -> str:
    lowest, highest = versions or (0, 0)
    return f"version {lowest}" if lowest == highest else f"versions {lowest} to {highest}"


def _at(scope: Scope) -> str:
    return "" if scope.listener is None else f" at the listener {scope.listener}"
