"""What makes `flowpi/data/layouts.json`. It is no part of the package."""
