"""What is done to a recognised text before people get it: rules, in the order of `rules.py`. Pure."""
