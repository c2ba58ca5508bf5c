"""Publishing: one hub that distributes messages, and a sink for each destination."""
