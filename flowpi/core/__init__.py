"""What a dictation appliance is. Pure: time comes in as an argument, effects go out as values."""
