"""Commands that train networks: train, compare, demo."""

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

import ferkit

from ._data import DRAWN, load_or_draw
from ._errors import as_bad_usage, check_overwrite, print_error
from ._options import Force, Out
from ._settings import Training, with_training_options


@with_training_options
def train(
    options: Training,
    context: typer.Context,
    out_dir: Out = Path("run"),
    backbone: Annotated[str, Option(help="Network to train; `ferkit backbones` lists them.")] = "cnn",
    resume: Annotated[
        Path | None,
        Option(
            metavar="RUN",
            exists=True,
            file_okay=False,
            help="Continue a training that was stopped in this directory, with its options and data. Give DATA if the "
            "data have moved.",
        ),
    ] = None,
) -> None:
    """Train a network and score it on PublicTest, Validation or Test, or on a tenth of Training that is held out."""
    if resume:
        _resume(options, context, resume)
        return
    model = options.build(backbone)
    check_overwrite(out_dir, options.force)
    faces, name = load_or_draw(options.data, options.drop_errors)
    _train(model, faces, name, out_dir)


@with_training_options
def compare(
    options: Training,
    backbones: Annotated[
        str, Option(help="Networks to train, separated by commas; `ferkit backbones` lists them.")
    ] = "cnn,resnet18,googlenet",
    seeds: Annotated[
        int, Option(min=1, help="Number of trainings per network, with --seed and the following numbers as seeds.")
    ] = 1,
    folds: Annotated[
        int | None,
        Option(
            min=2,
            help="Number of parts of the Training images, each of which is the test set of a training on the others. "
            "Copies of an image stay in one part. PublicTest and PrivateTest are not used.",
        ),
    ] = None,
    out_dir: Out = Path("comparison"),
) -> None:
    """Train several networks with the same settings and compare them. Finished trainings are skipped."""
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    suffix = f"-{options.input_size}" if options.input_size else ""
    networks = {name.replace("/", "_") + suffix: options.build(name, "--backbones") for name in names}
    if not networks:
        raise typer.BadParameter("Expected the name of at least one network, got none.", param_hint="--backbones")
    faces, name = load_or_draw(options.data, options.drop_errors)
    with as_bad_usage("--folds"):
        trainings = ferkit.runs.plan_trainings(networks, faces, out_dir, n_seeds=seeds, n_folds=folds)
    models = {folder: model for folder, (model, _) in trainings.items()}
    skipped, failed = [], []
    for folder, model in models.items():
        with suppress(FileNotFoundError):
            if (run := ferkit.runs.Run.read(folder)).matches(model, name):
                skipped += [folder] if run.is_finished else []
                continue
        if not ferkit.runs.can_resume(folder, model, name):
            check_overwrite(folder, options.force, resumes=folds is None)
    try:
        for folder, (model, part) in trainings.items():
            if folder in skipped:
                typer.echo(f"{folder} is already trained.")
                continue
            try:
                # a copy, so that the trained weights do not stay in memory
                _train(
                    deepcopy(model), part, name, folder,
                    resume=ferkit.runs.can_resume(folder, model, name), again="repeat this command",
                )  # fmt: skip
            except Exception as error:  # such as a network too deep for the images; the others can still be trained
                failed.append(folder)
                print_error(error, f"{folder}: ")
    finally:
        if finished := ferkit.runs.find_runs(out_dir, models, name, folds):
            table = ferkit.runs.write_comparison(finished, out_dir)
            typer.echo(
                f"\n{table}\n\n{_explain(seeds, folds)}\n"
                f"The tables are in {out_dir / 'comparison.md'}, .tex, .csv and .json, their chart in "
                f"{out_dir / 'comparison.png'}"
            )
    if failed:
        raise SystemExit(1)


def _explain(seeds, folds):
    """Return what the intervals of a comparison cover."""
    if folds:
        return (
            "Each row is a mean over folds. The intervals and p-values are those of the corrected resampled t-test; p "
            "is also corrected for the number of pairs."
        )
    if seeds > 1:
        return (
            "Each row is a mean over seeds. The intervals and p-values cover the sampling of the test images and the "
            "seeds; p is also corrected for the number of pairs."
        )
    return (
        "Each row is one trained model. The intervals only cover the sampling of the test images; training with "
        "another seed also changes the accuracy (--seeds 3)."
    )


def demo(out_dir: Out = Path("demo"), force: Force = False) -> None:
    """Train on drawn faces for a few minutes, and list the files with the results."""
    check_overwrite(out_dir, force)
    model = ferkit.FERClassifier(max_epochs=10, class_weight="balanced", random_state=0, verbose=1)
    faces, name = load_or_draw(None)
    _train(model, faces, name, out_dir)


def _resume(options, context, path):
    """Continue an unfinished training."""
    known = ("resume", "data", "drop_errors")
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name not in known and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"--resume uses the options of the run: leave {parameter.opts[0]} out.")
    with as_bad_usage("--resume"):
        model, name = ferkit.runs.read_unfinished(path)
    if options.data is None and name != DRAWN:
        if name is None or not Path(name).exists():
            raise typer.BadParameter(f"Expected the data of the run, got no file {name}: add DATA, their path.")
        options.data = Path(name)
    faces, _ = load_or_draw(options.data, options.drop_errors)
    _train(model.set_params(verbose=1), faces, name, path, resume=True)


def _train(model, faces, name, out_dir, resume=False, again=None):
    """Train into a directory and print the result. ``again`` says how to continue after Ctrl-C."""
    from .._files import make_directory

    train, test, tested_on = ferkit.runs.split_rows(faces)
    with as_bad_usage("--out"):
        make_directory(out_dir)
    typer.echo(
        f"Training {model.backbone} with seed {model.random_state} on {len(train):,} images, testing on {len(test):,} "
        f"({tested_on})."
    )
    try:
        run = ferkit.runs.train_run(model, faces, out_dir, data_name=name, overwrite=True, resume=resume)
    except KeyboardInterrupt:
        if ferkit.runs.is_unfinished(out_dir):
            typer.echo(f"Training was interrupted. To continue: {again or f'ferkit train --resume {out_dir}'}")
        if not getattr(model, "history_", None) or not (out_dir / ferkit.runs.SETTINGS).exists():
            raise
        if (run := ferkit.runs.Run.read(out_dir)).is_finished:  # an earlier one, which is kept
            raise
        typer.echo(f"Interrupted after {len(model.history_)} epochs: the model so far is saved and scored.")
    model_path, report_path = ferkit.runs.find_model(out_dir), out_dir / "report.html"
    typer.echo(f"\n{run}\n\nThe model is {model_path}, the report {report_path}; figures:")
    for path in sorted(out_dir.glob("*.png")):
        typer.echo(f"  {path}")
    if not run.is_finished:
        raise SystemExit(1)
