def build_answer(
    kind: int,
    status: int,
    *,
    close: bool,
    head_only: bool = False,
    minor: int = 1,
    retry_after_s: int = 0,
) -> bytes: ...
