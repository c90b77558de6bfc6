"""What queries name: enough of PromQL to find metrics and labels in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "breakeven.rules.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

_TEXT = re.compile(r'"[^"]*"')
_NAME = re.compile(r"(?<![\w:$])(?:gen_ai_|breakeven[_:]|\w+:breakeven_)[\w:]*")
_GROUPS = re.compile(r"\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([\w:]+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


class Query(NamedTuple):
    """An expression and where it stands."""

    where: str
    text: str

    @property
    def metrics(self) -> set[str]:
        """Names of ours, recorded ones included."""
        labels = {label for group in _GROUPS.findall(self.text) for label in re.findall(r"\w+", group)}
        return {name for name in _NAME.findall(_TEXT.sub('""', self.text)) if name not in labels}

    @property
    def selected(self) -> list[tuple[str, set[str]]]:
        """(metric, labels that are selected by)."""
        return [(name, set(_LABEL.findall(_TEXT.sub('""', inside)))) for name, inside in _SELECTOR.findall(self.text)]

    @property
    def grouped(self) -> set[str]:
        """Labels that are grouped or joined by."""
        return {label for group in _GROUPS.findall(self.text) for label in re.findall(r"\w+", group)}


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return found


def recorded() -> dict[str, str]:
    """Recording rules: name and expression."""
    return {rule["record"]: rule["expr"] for group in groups() for rule in group["rules"] if "record" in rule}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def queries() -> list[Query]:
    """Every query of the rules, the panels and the dashboards' variables."""
    found = [Query(rule.get("record") or rule["alert"], rule["expr"]) for group in groups() for rule in group["rules"]]
    for path in DASHBOARDS:
        board = dashboard(path)
        found += [Query(f"{path.name}: {panel['title']}", target["expr"]) for panel in board["panels"] for target in panel["targets"]]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found.append(Query(f"{path.name}: ${variable['name']}", variable["query"]["query"]))
    return found
