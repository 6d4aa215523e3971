from collections.abc import Sequence

def edited_for_test(
    data: bytes, edits: Sequence[tuple[str | int | bytes, ...]], answer: bool = False
) -> tuple[bytes, list[bool]]: ...
