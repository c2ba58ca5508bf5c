"""The promises of flowpi for failures of the world around it. Each is a test that does the harm: docs/reliability.md.

`make test` does each harm a few times, `make test-long` as often as the promise says.
"""
