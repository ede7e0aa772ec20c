"""Names that users of other trackers type, and what to use here instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def _table(rows: Mapping[str, str]) -> dict[str, str]:
    return {name: ours for names, ours in rows.items() for name in names.split()}


_RECORDED = "The summary has the last and best value of each metric by itself: trackhooks.runs()"
_OPTION_OF_WANDB = "It is an option of the tracker: wandb={…}"

RUN = _table({
    # W&B
    "finish end end_run stop done join finalize mark_finished": "run.close(), or use the run in a `with` statement",
    "config params hparams hyperparameters": "trackhooks.run(params={…}) or run.log_params({…})",
    "summary": _RECORDED,
    "history scan_history get_metric_history": "trackhooks.history(run)",
    "log_artifact log_artifacts upsert_artifact save log_asset upload upload_artifact upload_file add_artifact":
        "run.log_file(path), run.log_model(path) or run.log_export(path)",
    "link_artifact link_model finish_artifact register_model": "run.log_model(path, aliases=['best'])",
    "log_code": "The commit, and whether the code was changed, are recorded by themselves.",
    "use_artifact use_model restore download load_model": "the files in run.path, or the client of the tracker",
    "define_metric": "run.log(…, step=…); metrics of batches are plotted over steps, those of epochs over epochs",
    "alert": "a tracker of your own, which can send messages: class Mine(trackhooks.Tracker)",
    "unwatch": "run.close()",
    "get_url": "run.url('wandb')",
    "dir folder": "run.path",
    "tags add_tag add_tags set_tag set_tags log_other": "trackhooks.run(tags=['baseline'])",
    "notes description": "trackhooks.run(notes='…')",
    "set_name display_name run_name": "trackhooks.run(name='…')",
    "project project_name experiment_id experiment_name set_experiment": "trackhooks.run(project='…')",
    "group set_group": "trackhooks.run(group='…')",
    "entity job_type sweep_id offline settings": _OPTION_OF_WANDB,
    "state": "run.status",
    "run_id info": "run.id, run.name, run.path and run.status",
    "starting_step global_step": "run.step",
    "resumed": "trackhooks.run(resume=folder) continues a run",
    "use_callback append_callback": "run.callbacks.append(callback) or run.add_callback(hook, function)",
    # MLflow
    "log_metric log_metrics report_scalar track append": "run.log({'loss': loss}) or run.log(loss=loss)",
    "log_param log_parameter log_parameters log_hyperparams log_hparams add_hparams connect":
        "run.log_params({…})",
    "log_dict log_input": "run.log_params({…}), run.log_table(name, data) or run.log_text(name, text)",
    "log_images": "run.log_image(name, image), once for each image",
    # TensorBoard, Lightning and others
    "add_scalar add_scalars log_scalar scalar": "run.log({'loss': loss}, step=step)",
    "add_image add_images image Image": "run.log_image(name, image)",
    "add_figure": "run.log_figure(name, figure)",
    "add_histogram histogram Histogram": "run.log_histogram(name, values)",
    "add_text text": "run.log_text(name, text)",
    "add_graph log_graph": "run.watch(model)",
    "table Table add_table log_dataframe": "run.log_table(name, data)",
    "add_video add_audio add_mesh add_embedding add_pr_curve log_video log_audio Video Audio Html":
        "run.log_file(path)",
    "experiment logger": "the run itself",
    "fit": "run.train(batches) in `for epoch in run.epochs(10)`",
    "test evaluate": "run.validate(batches)",
    "on_train_end on_epoch_end on_fit_epoch_end": "run.callbacks",
})  # fmt: skip
"""An attribute that a `Run` does not have → what does the same."""

_AFTER_RUN = "run = trackhooks.run(…), and then "
_READ = "trackhooks.runs('runs') and trackhooks.compare([…])"

MODULE = _table({
    "init start_run init_run start create_run Experiment Task SummaryWriter setup": "trackhooks.run(…)",
    "finish end_run end close": "run.close(), or use the run in a `with` statement",
    "log log_metric log_metrics log_scalar": _AFTER_RUN + "run.log({'loss': loss})",
    "config log_param log_params log_hyperparams hparams": "trackhooks.run(params={…}) or run.log_params({…})",
    "summary": _RECORDED,
    "log_artifact log_artifacts save log_file Artifact": _AFTER_RUN + "run.log_file(path)",
    "log_model register_model": _AFTER_RUN + "run.log_model(path)",
    "log_text Html": _AFTER_RUN + "run.log_text(name, text)",
    "log_table Table": _AFTER_RUN + "run.log_table(name, data)",
    "log_image Image log_images": _AFTER_RUN + "run.log_image(name, image)",
    "log_figure plot": _AFTER_RUN + "run.log_figure(name, figure)",
    "log_histogram Histogram": _AFTER_RUN + "run.log_histogram(name, values)",
    "log_dict log_input": _AFTER_RUN + "run.log_params({…}) or run.log_table(name, data)",
    "watch": _AFTER_RUN + "run.watch(model, optimizer)",
    "attach": _AFTER_RUN + "run.attach(model)",
    "define_metric": "run.log(…, step=…); metrics of batches are plotted over steps, those of epochs over epochs",
    "set_tag set_tags": "trackhooks.run(tags=['baseline'])",
    "set_experiment create_experiment set_project": "trackhooks.run(project='…')",
    "set_tracking_uri get_tracking_uri set_registry_uri": "trackhooks.run(mlflow={'tracking_uri': '…'})",
    "autolog autologging": "trackhooks.enable(…)",
    "login": "the client of the tracker: wandb login",
    "active_run last_active_run get_run": "the object that trackhooks.run(…) returns",
    "search_runs list_runs Api MlflowClient get_experiment search_experiments load read": _READ,
    "get_metric_history metric_history scan_history get_history": "trackhooks.history('runs/a', 'val/*')",
    "to_csv to_parquet to_pandas dataframe": "trackhooks.history('runs/a').write('a.parquet') or .to_pandas()",
    "restore download load_model use_artifact": "the files in run.path, or the client of the tracker",
    "WandbCallback WandbMetricsLogger MlflowCallback TensorBoard KerasCallback": "trackhooks.keras_callback(…)",
    "WandbLogger MLFlowLogger TensorBoardLogger CSVLogger Logger": "trackhooks.run(…) or trackhooks.enable(…)",
    "enable_system_metrics_logging": "trackhooks.run(system='10s')",
    "sweep agent": "trackhooks.run(group='…') for each trial of a sweep",
    "alert": "a tracker of your own, which can send messages: class Mine(trackhooks.Tracker)",
    "Settings": "the options of trackhooks.run(…)",
    "callbacks": "trackhooks.Callback and trackhooks.CallbackList",
})  # fmt: skip
"""An attribute that the package does not have → what does the same."""

OPTIONS = _table({
    "config hparams hyperparameters parameters hyperparams": "params={…}",
    "experiment experiment_name project_name": "project='…'",
    "run_name display_name": "name='…'",
    "description": "notes='…'",
    "run_group": "group='…'",
    "save_dir directory path folder logdir log_dir": "dir='…'",
    "entity job_type mode": "wandb={…}",
    "tracking_uri run_id": "mlflow={…}",
    "id": "name='…'; trackhooks.run(resume=folder) continues a run",
    "tag": "tags=['…']",
    "trackers tracker loggers logger to": "the names of the trackers: trackhooks.run('csv', 'mlflow')",
    "interval log_every frequency freq every_n_steps": "every=N or every='1s'",
    "disabled": "the environment variable TRACKHOOKS_DISABLED=1",
})  # fmt: skip
"""An option that `run` and `enable` do not have → the option that does the same."""


def missing(owner: str, name: str, table: Mapping[str, str], known: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that does not exist, with what to use instead, if that is known."""
    message = f"{owner} has no attribute {name!r}."
    if name in table:
        message += f" {'' if table[name][0].isupper() else 'Use '}{table[name]}"
    elif not name.startswith("_"):
        from ..errors.nearest import nearest  # only for a mistake

        close = nearest(name, known, cutoff=0.7)
        message += "" if close is None else f" Did you mean {close!r}?"
    return AttributeError(message, name=name)
