"""What flowpi promises when the world fails, each promise as a test that does the harm: see docs/reliability.md.

`make test` does each harm some times, `make test-long` as often as the promise names.
"""
