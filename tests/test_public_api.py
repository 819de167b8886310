"""What users may rely on."""

import cannery


def test_the_public_names_are_these() -> None:
    """Nothing is added to or taken from the public API by accident."""
    assert cannery.__all__ == [
        "AsyncClient",
        "BuildOptions",
        "CanneryError",
        "Client",
        "PackOptions",
        "build",
        "pack",
    ]


def test_every_public_name_can_be_had() -> None:
    """The names that are imported on first use exist where they are said to."""
    assert all(callable(getattr(cannery, name)) for name in cannery.__all__)
