"""`onepath settings`: what a sweep's configuration may hold. Knows no setting itself."""

from dataclasses import asdict
from typing import Annotated

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.printing import print_json


def settings(
    section: Annotated[str | None, typer.Argument(help="One section only, such as train.")] = None, json: Json = False
) -> None:
    """List every setting of a sweep's configuration with its default and what it does, as Markdown."""
    from orchestrator.plan.settings import settings_of, settings_page

    if json:
        print_json([asdict(one) for members in settings_of(section).values() for one in members])
        return
    print(settings_page(section), end="")
