"""The running daemon: puts the parts together and drives them."""
