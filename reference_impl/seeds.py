"""Seeds named by what they are for: free of torch, so that plans and data stages can use them."""

import hashlib


def sample_seed(*parts: str | int) -> int:
    """A stable 63-bit seed for what ``parts`` name, e.g. ``("math", step, prompt_id, sample)``."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
