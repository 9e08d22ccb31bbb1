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
import pandas as pd
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
    {"lr": [1e-3, 3e-3, 1e-2], "backbone_params": [{"widths": (8, 16, 32)}, {"widths": (16, 32, 64)}]},
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
# Six settings on three folds are eighteen fits. The figure shows the accuracy of each setting and the time of its fits.
results = pd.DataFrame(search.cv_results_).sort_values("mean_test_score")
names = [f"lr {params['lr']:g}, widths {params['backbone_params']['widths']}" for params in results["params"]]
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
bars = ax.barh(names, results["mean_test_score"], xerr=results["std_test_score"], color="#0072B2", capsize=3)
ax.bar_label(bars, [f"{seconds:.1f} s" for seconds in results["mean_fit_time"]], padding=6)
ax.set(xlabel="accuracy, mean and standard deviation of three folds; seconds per fit", xlim=(0, 1))
plt.show()
