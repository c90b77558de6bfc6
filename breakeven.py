"""The command line and composition root: one thin function per command; rooms are imported inside the commands, so that `--help` stays fast.

Exit codes: 0 done, 1 ran and failed or refused, 2 flags, configuration or recipe wrong, 130 interrupted. `--json`: one document on stdout, progress on stderr.
Not here: what the commands do (the rooms) and how documents look to people (gateway/terminal.py).
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.bench.command import bench
from gateway.commands import costs, jobs, keys
from gateway.commands.budgets import budgets
from gateway.commands.calibrate import calibrate
from gateway.commands.drift import drift
from gateway.commands.frame import ConfigPath, Json, configuration, database, instant, show
from gateway.commands.prices import prices
from gateway.commands.reconcile import reconcile
from gateway.commands.reprice import reprice
from gateway.commands.simulate import simulate
from gateway.commands.worth import worth
from router.errors import BreakevenError, ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gateway.config.models import Config

_HELP = "Answers each request with the cheapest model that is good enough and fast enough, and says whether training your own is worth it."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
dataset_app = typer.Typer(no_args_is_help=True, help="Build, check and preview training data.")
recipe_app = typer.Typer(no_args_is_help=True, help="A training recipe before anything is trained.")
adapters_app = typer.Typer(no_args_is_help=True, help="Add, load, promote, roll back and retire adapter versions.")
app.add_typer(dataset_app, name="dataset")
app.add_typer(recipe_app, name="recipe")
app.add_typer(adapters_app, name="adapters")
app.add_typer(keys.app, name="keys")
app.add_typer(costs.app, name="costs")
app.add_typer(jobs.app, name="jobs")

# typer carries its own click and exports only this leaf of its usage errors.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Entry point of the `breakeven` command: runs it and turns every error into a message and an exit code."""
    from gateway import terminal

    as_json = "--json" in sys.argv[1:]
    try:
        result = app(standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except _UsageError as error:
        code = terminal.failure(ConfigError(error.format_message()), as_json)
    except BreakevenError as error:
        code = terminal.failure(error, as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = terminal.failure(BreakevenError("interrupted"), as_json, code=130)
    sys.exit(code)


def _json_file(path: Path) -> dict[str, Any]:
    import orjson

    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a request body is a JSON object")
    return found


@app.command(epilog="Example: breakeven serve -c breakeven.yaml --port 8080")
def serve(config: ConfigPath = None, port: int | None = None, workers: int | None = None) -> int:
    """Run the gateway: data-plane workers and the controller."""
    from gateway.serve import serve as run

    return run(configuration(config, port=port, workers=workers))


@app.command(epilog="Example: breakeven check -c breakeven.yaml")
def check(config: ConfigPath = None, json: Json = False) -> None:
    """Read the configuration and report all problems at once, with file and line."""
    from gateway import terminal
    from gateway.price_listing import doubts

    found = configuration(config)
    warnings = [w.as_dict() for w in (*found.warnings, *doubts(found, time.time()))]
    document = {"ok": True, "file": str(found.source), "routes": sorted(found.routes), "problems": [], "warnings": warnings}
    show(document, json, terminal.checked)


@app.command(epilog="Example: breakeven explain support-triage --file request.json")
def explain(
    route: str,
    file: Annotated[Path | None, typer.Option("--file", help="A chat request body; default: a one-line question.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Say which candidate a request would go to and why, without sending it: asked of the running gateway, else computed from the database."""
    from gateway import remote, terminal

    found = configuration(config)
    body = _json_file(file) if file else {"messages": [{"role": "user", "content": "What would happen to this request?"}]}
    with database(found) as engine:
        show(remote.explain(found, os.environ, engine, route, body, time.time()), json, terminal.decision)


@app.command(epilog="Example: breakeven replay dec_0190f3a2")
def replay(decision_id: str, config: ConfigPath = None, json: Json = False) -> int:
    """Make a recorded decision again from its record; exit code 1 when the choice differs."""
    from gateway import terminal
    from gateway.admin import shapes
    from gateway.store import decisions
    from router import record

    with database(configuration(config)) as engine, engine.connect() as conn:
        found = decisions.get(conn, decision_id)
    if found is None:
        raise BreakevenError(f"there is no decision {decision_id!r}; the header x-breakeven-decision and /admin/exchanges show their ids")
    made, same = record.replay(*found)
    document = shapes.ReplayBody(**shapes.decision(made, found[1]), same=same).model_dump(mode="json")
    show(document, json, terminal.decision)
    return 0 if same else 1


@app.command(epilog="Example: breakeven sandbox --port 9090 --error-rate 0.05")
def sandbox(
    host: str = "127.0.0.1",
    port: int = 9090,
    answers: Annotated[Path | None, typer.Option(help="JSONL of {messages, answer}: reference answers.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it has (repeat).")] = None,
    error_rate: Annotated[float, typer.Option(help="Share of wrong but well-formed answers.")] = 0.0,
    latency_ms: Annotated[float, typer.Option(help="Median time to the first token.")] = 180.0,
    token_ms: Annotated[float, typer.Option(help="Median time of each token after it.")] = 2.0,
    seed: int = 1,
    api_key: Annotated[str | None, typer.Option(help="Refuse any other key with 401.")] = None,
) -> None:
    """An OpenAI-compatible provider to try things against: scripted answers, latency, faults. Everything it says is labelled sandbox."""
    from gateway import terminal
    from gateway.sandbox import SandboxOptions, load
    from gateway.sandbox import serve as run
    from gateway.sandbox.options import MODELS

    known = tuple(load(answers)) if answers else ()
    options = SandboxOptions(tuple(model or MODELS), known, error_rate, latency_ms, token_ms, 0.25, seed, api_key)
    run(options, host, port, lambda running: terminal.line(f"sandbox provider at {running.base_url} (models: {', '.join(options.models)}); Ctrl-C stops it"))


@dataset_app.command("build", epilog="Example: breakeven dataset build --route support-triage --out data/triage")
def dataset_build(
    out: Annotated[Path, typer.Option(help="Directory to write; must not exist.")],
    route: Annotated[str | None, typer.Option(help="From the captured traffic of this route.")] = None,
    file: Annotated[Path | None, typer.Option(help="From a JSONL file in OpenAI's chat format.")] = None,
    redact: Annotated[list[str] | None, typer.Option(help="Take out what looks like this: email, phone or card (repeat).")] = None,
    limit: Annotated[int | None, typer.Option(min=10, help="Keep at most so many: half as they come, half unlike the others.")] = None,
    since: Annotated[str | None, typer.Option(help="Captured traffic from then on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Captured traffic before then (RFC 3339).")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Write a dataset: checked whole, split by content hash, manifest last."""
    from gateway import terminal
    from training import commands

    if (route is None) == (file is None):
        raise ConfigError("give either --route NAME or --file PATH")
    kinds = commands.kinds_of_personal_data(redact or ())
    wanted = commands.Wanted(instant("--since", since), instant("--until", until), limit, kinds)
    if file is not None:
        document = commands.build_dataset(None, None, file, out, wanted)
    else:
        found = configuration(config)
        with database(found) as engine:
            document = commands.build_dataset(found, engine, str(route), out, wanted)
    show(document, json, terminal.dataset)


@dataset_app.command("check", epilog="Example: breakeven dataset check train.jsonl")
def dataset_check(
    file: Path,
    against: Annotated[Path | None, typer.Option(help="A JSONL file to be judged on: its questions must not be in FILE.")] = None,
    json: Json = False,
) -> None:
    """Read a JSONL file and report every problem with its line, and what else should be known; exit code 1 when there is a problem."""
    from gateway import terminal
    from training import commands

    show(commands.check_dataset(file, against), json, terminal.examined)


@dataset_app.command("preview", epilog="Example: breakeven dataset preview train.jsonl --base Qwen/Qwen2.5-7B-Instruct")
def dataset_preview(source: Path, base: Annotated[str, typer.Option(help="Model directory or Hugging Face id.")], count: int = 3, json: Json = False) -> None:
    """Show the tokens the trainer will see and which of them it learns."""
    from gateway import terminal
    from training import commands, tokens

    shown = commands.preview(base, source, count)
    show([p.as_dict() for p in shown], json, lambda _: terminal.texts(tokens.coloured(p) for p in shown))


@recipe_app.command("import", epilog="Example: breakeven recipe import axolotl.yml --out recipe.yaml")
def recipe_import(
    file: Annotated[Path, typer.Argument(help="An axolotl configuration.")],
    out: Annotated[Path, typer.Option(help="The recipe to write; must not exist.")] = Path("recipe.yaml"),
    json: Json = False,
) -> None:
    """Write the recipe that does what an axolotl file says; what vLLM could not serve is refused, what has no meaning here is named."""
    from gateway import terminal_recipe
    from training import before

    show(before.imported(file, out), json, terminal_recipe.imported)


@recipe_app.command("estimate", epilog="Example: breakeven recipe estimate recipe.yaml --gpu-hour-usd 2.50")
def recipe_estimate(
    recipe: Path,
    gpu_hour_usd: Annotated[str | None, typer.Option(help="What an hour of this GPU costs.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Say what a training run will take on this machine: steps, memory, time, dollars. Nothing is trained."""
    from gateway import terminal_recipe
    from training import before, commands

    with ExitStack() as stack:

        def opened() -> tuple[Config, Engine]:
            found = configuration(config)
            return found, stack.enter_context(database(found))

        document = before.estimated(recipe, lambda wanted: commands.prepared(wanted, opened), gpu_hour_usd)
    show(document, json, terminal_recipe.estimated)


@app.command(epilog="Example: breakeven train recipe.yaml --resume, or breakeven train --job ftjob-…")
def train(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe; or name a job.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run.")] = False,
    job: Annotated[str | None, typer.Option(help="A fine-tuning job instead of a recipe: begin it, or go on with it.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> int:
    """Train an adapter from a recipe, or a fine-tuning job; Ctrl-C leaves a checkpoint from which --resume, or the job itself, goes on."""
    from gateway import terminal
    from training import commands

    if (recipe is None) == (job is None):
        raise ConfigError("give either a recipe or --job ID")
    if recipe is None:
        return _job(str(job), config, json)
    with ExitStack() as stack:

        def opened() -> tuple[Config, Engine]:
            found = configuration(config)
            return found, stack.enter_context(database(found))

        document = commands.run_training(recipe, resume, terminal.Progress(), opened)
    show(document, json, terminal.trained)
    return 130 if document["interrupted"] else 0


def _job(job_id: str, config: Path | None, json: bool) -> int:
    from gateway import terminal, terminal_jobs
    from training import job

    found = configuration(config)
    with database(found) as engine:
        document = job.run(found, engine, job_id, terminal.Progress(), time.time)
    show(document, json, terminal_jobs.worked)
    return 130 if document["interrupted"] else 1 if document["error"] else 0


@app.command("eval", epilog="Example: breakeven eval support-triage --adapter support-triage@2")
def evaluate(
    route: str,
    adapter: Annotated[str | None, typer.Option(help="NAME@VERSION; without a version the newest.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of answers and report (default: DATA_DIR/evals/…).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page there too.")] = None,
    examples: Annotated[Path | None, typer.Option(help="Worked examples for few_shot (JSONL in chat format; default: those of the route's programs).")] = None,
    documents: Annotated[Path | None, typer.Option(help="A file or directory of texts for retrieval (default: that of the route's programs).")] = None,
    shots: Annotated[int, typer.Option(help="How many examples.", min=1)] = 16,
    only: Annotated[str | None, typer.Option(help="These rungs alone, by commas; all that there is material for without it.")] = None,
    judge: Annotated[str | None, typer.Option(help="PROVIDER/MODEL that scores items of the scorer judge.")] = None,
    anchors: Annotated[Path | None, typer.Option(help="Labelled comparisons the judge is calibrated on (JSONL).")] = None,
    concurrency: int = 8,
    config: ConfigPath = None,
    json: Json = False,
) -> int:
    """Ask every rung of the ladder each question of the route's suite through the running gateway: prompt, examples, schema, retrieval, bare base, adapter.

    Says which is the cheapest that is good enough, and how to deploy it; exit code 1 when the gate refuses the adapter.
    """
    from gateway import remote, terminal
    from training import evaluation, ladder

    found = configuration(config)
    with database(found) as engine:
        name, version = evaluation.adapter_version(engine, adapter)
        directory = out or found.server.data_dir / "evals" / route / (f"{name}@{version}" if name else "base")
        material, rungs = ladder.Material(examples, documents, shots), tuple(name.strip() for name in (only or "").split(",") if name.strip())
        asked = evaluation.Judging(route, name, version, directory, concurrency, material=material, judge=judge, anchors=anchors, only=rungs)
        document = evaluation.run_eval(found, engine, asked, remote.address(found, os.environ) + "/v1", terminal.Progress())
    if html is not None:
        html.write_bytes(Path(document["report"][1]).read_bytes())
    show(document, json, terminal.evaluation)
    return 0 if document["gate"]["passed"] or name is None else 1


@adapters_app.command("list", epilog="Example: breakeven adapters list")
def adapters_list(config: ConfigPath = None, json: Json = False) -> None:
    """Every adapter with its versions."""
    from gateway import adapters, terminal

    with database(configuration(config)) as engine:
        show(adapters.listed(engine), json, terminal.adapters)


@adapters_app.command("add", epilog="Example: breakeven adapters add out/support-triage --name support-triage")
def adapters_add(
    path: Path,
    name: Annotated[str | None, typer.Option(help="Default: the directory's name.")] = None,
    engine: Annotated[str | None, typer.Option(help="Where routes do not say it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only.")] = False,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Check a directory without loading it, copy it under its digest, register it as a new version."""
    from gateway import adapters, terminal

    found = configuration(config)
    with database(found) as store:
        asked = adapters.Asked(name or path.resolve().name, str(path.resolve()), engine, dry_run=dry_run)
        show(adapters.added(store, found, asked, time.time()), json, terminal.version_added)


def _adapter_verb(verb: str, summary: str) -> None:
    def command(
        name: str,
        version: Annotated[str | None, typer.Option(help="Number or digest; `rollback` goes to the previous one without it.")] = None,
        percent: Annotated[float | None, typer.Option(help="Share of the adapter's requests (canary).")] = None,
        force: bool = False,
        reason: str = "",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
        wait_s: float = 120.0,
        config: ConfigPath = None,
        json: Json = False,
    ) -> None:
        from gateway import adapters, terminal
        from serving.verbs import Change

        wanted = int(version) if version is not None and version.isdigit() else version
        change = Change(verb, name, wanted, percent, force, reason, os.environ.get("USER") or "command line")  # type: ignore[arg-type]
        found = configuration(config)
        with database(found) as engine:
            if dry_run:
                document = adapters.previewed(engine, found, change, time.time())
            else:
                document = adapters.carried_out(engine, found, change, wait_s, (time.time, time.sleep))
        show(document, json, terminal.adapter)

    command.__doc__ = summary
    adapters_app.command(verb, epilog=f"Example: breakeven adapters {verb} support-triage --version 2")(command)


_adapter_verb("load", "Load a version on every replica and verify it, without routing anything to it.")
_adapter_verb("canary", "Send a share of the adapter's requests to a version.")
_adapter_verb("promote", "Make a version live: one atomic switch after it is loaded and verified everywhere.")
_adapter_verb("rollback", "Make the previous version live again.")
_adapter_verb("retire", "Stop routing to a version, let its answers finish, unload it, delete its files.")
app.command(epilog="Example: breakeven budgets --json")(budgets)
app.command(epilog="Example: breakeven drift --route support-triage")(drift)
app.command(epilog="Example: breakeven prices --model gpt-4o-mini")(prices)
app.command(epilog="Example: breakeven reconcile usage.json --provider openai --tolerance 0.01")(reconcile)
app.command(epilog="Example: breakeven reprice --since 2027-01-01 --until 2027-01-31 --model gpt-4o-mini --reason 'discount came late'")(reprice)
app.command(epilog="Example: breakeven simulate trace.csv --rate 4 --scenario calm,outage --html report.html")(simulate)
app.command(epilog="Example: breakeven calibrate local --batches 1,8,32 --seconds 20")(calibrate)
app.command(epilog="Example: breakeven worth support-triage --assume engineering_weeks=2 --html worth.html")(worth)
app.command(epilog="Example: breakeven bench --seconds 10 --litellm ~/litellm/bin/python --soak 300")(bench)


if __name__ == "__main__":
    main()
