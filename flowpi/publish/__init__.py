"""The way out: one hub, and a sink for each destination."""
