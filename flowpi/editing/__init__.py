"""What is done to a recognised text: the rules of `core/text`, and a language model if one is configured."""
