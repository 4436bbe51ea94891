"""What one call of the workflow is made of. Free of torch, so that it starts at once."""

from pipelines.plan.files import PAGES, Plan, load_plan

__all__ = ["PAGES", "Plan", "load_plan"]
