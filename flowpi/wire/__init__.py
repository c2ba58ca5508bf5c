"""The dialects as pure state machines: messages, both encodings, both roles."""
