"""
Search on a cluster
===================

After this example you can run a scikit-learn search on a Dask cluster through joblib. It needs
``pip install "ferkit[dask]"``. The cluster in this example consists of two threads. With ``Client("scheduler:8786")``
you connect to a real cluster of processes on many machines.
"""

from itertools import chain

import dask
import joblib
import matplotlib.pyplot as plt
from dask.distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from ferkit import FERClassifier
from ferkit.datasets import sample_faces

faces = sample_faces(900, random_state=0)
y = faces.target_names[faces.target]

# %%
# The faces and the rows of each fold are sent to every worker once. Every worker keeps its copy, so the search goes on
# if a worker is lost.
dask.config.set({"distributed.scheduler.active-memory-manager.start": False})
splits = list(StratifiedKFold(3).split(faces.data, y))
search = GridSearchCV(
    FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=32, random_state=0),
    {"lr": [1e-3, 3e-3, 1e-2]},
    cv=splits,
    n_jobs=-1,
)
if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_backend("dask", scatter=[faces.data, y, *chain(*splits)]),
    ):
        search.fit(faces.data, y)
    print(search.best_params_)

# %%
# The figure shows the mean and the standard deviation of the accuracy over the folds.
scores, spread = (search.cv_results_[f"{which}_test_score"] for which in ("mean", "std"))
figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.errorbar([params["lr"] for params in search.cv_results_["params"]], scores, spread, marker="o", capsize=4)
ax.set(xscale="log", xlabel="learning rate", ylabel="accuracy, three-fold")
ax.grid(alpha=0.3)
plt.show()
