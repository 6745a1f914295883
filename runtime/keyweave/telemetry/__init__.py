"""Telemetry: what a store reports to OpenTelemetry. Only this package imports its API.

A store without a configured SDK has no `Telemetry` at all, so nothing here runs and nothing costs time. Reported are
names from the schema, fixed words and numbers: never an id, a value, a tenant or a message.
"""
