"""What one call of the workflow is made of: files, hashes, options. Free of torch, so that it starts at once."""

from pipelines.plan.choice import Choice
from pipelines.plan.files import PAGES
from pipelines.plan.load import Plan, load_plan

__all__ = ["PAGES", "Choice", "Plan", "load_plan"]
