"""Which files a domain's training data is made of, and how many rows each has."""

from reference_impl.config import Declarations, Scale, domain_size, expert_file, expert_roles, expert_rows

PROMPTS, VALIDATION = "prompts.jsonl", "validation.jsonl"


def split_rows(decl: Declarations, scale: Scale, domain: str) -> dict[str, int]:
    """File → its number of rows at a scale: RL prompts, validation prompts, and one file per set of demonstrations."""
    roles = expert_roles(decl, scale, domain)
    experts = {expert_file(role): expert_rows(decl, scale, domain, role) for role in roles}
    return {
        PROMPTS: domain_size(decl, scale, domain, "prompt_rows"),
        VALIDATION: scale.domains[domain].validation_rows,
        **experts,
    }
