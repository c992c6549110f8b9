"""Injected faults: wrong behaviour of a broker on purpose, so that a client can be tested.

A rule names the requests that it applies to (``Scope``), which of them it disturbs (``Trigger``) and how (``Effect``).
It is armed on a running broker by an ``Injector``, counts what it matched and what it disturbed, and is removed again.
While no rule is armed for an API its requests pay nothing.

``rules`` has the values and reads them from JSON; ``subjects`` finds topics, partitions, groups and transactional ids
in any request; ``placement`` puts an error code where the response of any API has one; ``injector`` arms rules.
"""
