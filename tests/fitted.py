"""Models fitted to vectors."""

from __future__ import annotations

from dcsh_pg.embeddings import Making


def fitted_model(folder, values, *, method="itq", bits=16, making=None, pooled=1):
    """Fits a method to vectors float32 (N, D) and exports it; the path of the model file."""
    from dcsh_pg.export import export_run
    from dcsh_pg.learning.data.training_set import TrainingSet
    from dcsh_pg.learning.training.run import Run
    from dcsh_pg.train import train

    making = making or Making()
    training = TrainingSet(values, scenes=1, pooled=pooled, embedding=making.to_json())
    run = Run(bits=bits, folder=folder / "run")
    train(training, run, method=method, encoder="vector")
    export_run(folder / "run", folder / "model.onnx")
    return folder / "model.onnx"
