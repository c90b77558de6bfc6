"""Fine-tuning jobs as people see them in a terminal."""

from __future__ import annotations

from typing import Any

from gateway import terminal


def worked(document: dict[str, Any]) -> None:
    """What `breakeven train --job` did."""
    error, cost = document["error"], document.get("cost_usd")
    spent = f", {float(cost):.2f} dollars of GPU time" if cost is not None else ""
    terminal.line(f"{document['job']} is {document['status']} (step {document['step']} of {document['total']}{spent})")
    if document["waiting"]:
        terminal.line(document["waiting"])
    if document["interrupted"]:
        terminal.line(f"a checkpoint is kept: `breakeven train --job {document['job']}` goes on, and so does a running gateway")
    if error:
        terminal.line(error["message"])


def listed(document: dict[str, Any]) -> None:
    """A table of jobs."""
    terminal.rows(document["data"], ("id", "status", "model", "step", "total", "fine_tuned_model"), "no jobs yet")


def shown(document: dict[str, Any]) -> None:
    """One job with its history, oldest first."""
    terminal.line(f"{document['id']} is {document['status']}: {document['model']}, step {document['step']} of {document['total']}")
    for event in document["events"]:
        terminal.line(f"  {event['level']:5} {event['message']}")
    if document["fine_tuned_model"]:
        terminal.line(f"call it as {document['fine_tuned_model']}")
