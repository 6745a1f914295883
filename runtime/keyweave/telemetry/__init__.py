"""Telemetry: what a store tells OpenTelemetry. Only this package imports its API.

A store without a configured SDK has no `Telemetry` at all, so nothing here runs and nothing is paid. What is
told are kinds: names out of the schema, fixed words and numbers. Never an id, a value, a tenant or a message.
"""
