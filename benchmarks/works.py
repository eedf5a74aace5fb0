"""What is measured: each work in the form of each contender, on the same made-up features."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[], Any]
Prepare = Callable[[], Run]

CONTENDERS = ("ours", "ceiling", "pytorch-ood", "scikit-learn", "faiss", "torch")
DIM, CLASSES, K = 512, 10, 50

# rounds: at one thread, at two. targets: "ceiling" or a contender -> at most so many times its time ("at_most"), or at
# least so many times faster ("faster"); "memory" -> at most so many MB above the inputs.
WORKS: dict[str, dict[str, Any]] = {
    "feature norm": {
        "about": "score 200,000 x 512",
        "rounds": (3, 5),
        "targets": {"ceiling": {"at_most": 1.67}},
        "ceiling": "copy of the input",
    },
    "max logit": {
        "about": "score 1,000,000 x 10",
        "rounds": (3, 5),
        "targets": {"ceiling": {"at_most": 1.67}, "pytorch-ood": {"at_most": 1.1}},
        "ceiling": "copy of the input",
    },
    "msp": {
        "about": "score 1,000,000 x 10",
        "rounds": (3, 5),
        "targets": {"ceiling": {"at_most": 1.3}, "pytorch-ood": {"at_most": 1.1}},
        "ceiling": "torch.logsumexp in float64",
    },
    "energy": {
        "about": "score 1,000,000 x 10",
        "rounds": (3, 5),
        "targets": {"ceiling": {"at_most": 1.3}, "pytorch-ood": {"at_most": 1.1}},
        "ceiling": "torch.logsumexp in float64",
    },
    "mahalanobis fit": {
        "about": "fit 50,000 x 512, 10 classes",
        "rounds": (1, 3),
        "targets": {"ceiling": {"at_most": 1.67}, "pytorch-ood": {"at_most": 1.1}, "scikit-learn": {"at_most": 1.1}},
        "ceiling": "X^T X in float64",
    },
    "ssd fit": {
        "about": "fit 50,000 x 512, unit vectors, one cluster",
        "rounds": (1, 3),
        "targets": {"ceiling": {"at_most": 1.67}},
        "ceiling": "X^T X in float64",
    },
    "mahalanobis score": {
        "about": "score 10,000 x 512, 10 classes",
        "rounds": (3, 5),
        "targets": {"ceiling": {"at_most": 1.67}, "pytorch-ood": {"faster": 10}},
        "ceiling": "product with D x D in float64",
    },
    "ddu score": {
        "about": "score 10,000 x 512, 10 classes",
        "rounds": (1, 2),
        "targets": {"ceiling": {"at_most": 2}, "torch": {"faster": 5}},
        "ceiling": "half the product with D x C D in float64",
    },
    "knn": {
        "about": "10,000 queries, 50,000 x 512, k = 50",
        "rounds": (1, 2),
        "targets": {"ceiling": {"at_most": 1.3}, "faiss": {"at_most": 1.1}},
        "ceiling": "the product in float32",
    },
    "knn, large": {
        "about": "2,000 queries, 500,000 x 512, k = 50",
        "rounds": (0, 2),
        "targets": {"ceiling": {"at_most": 1.3}, "faiss": {"at_most": 1.1}},
        "ceiling": "the product in float32",
    },
    "mahalanobis, large": {
        "about": "fit 500,000 x 512, then 1,000,000 queries in parts of 50,000",
        "rounds": (0, 1),
        "targets": {"ceiling": {"at_most": 1.67}},
        "ceiling": "both products in float64",
    },
    "auroc": {
        "about": "5,000,000 ID and 5,000,000 OOD scores, float32",
        "rounds": (1, 3),
        "targets": {"scikit-learn": {"faster": 15}},
        "ceiling": "numpy.sort of all",
    },
    "all metrics": {
        "about": "5,000,000 ID and 5,000,000 OOD scores, float32",
        "rounds": (1, 3),
        "targets": {"ceiling": {"at_most": 9}},
        "ceiling": "numpy.sort of all",
    },
    "neural collapse": {
        "about": "NC1 to NC4 of 50,000 x 512, 10 classes",
        "rounds": (1, 3),
        "targets": {"ceiling": {"at_most": 2}},
        "ceiling": "X^T X in float64",
    },
}


for _slow in ("knn", "knn, large", "mahalanobis, large"):
    WORKS[_slow]["warm"] = False  # a round of them takes longer than whatever happens once
for _work, _about in WORKS.items():
    _about["targets"]["memory"] = {"at_most": 2000 if _work in ("auroc", "all metrics") else 300}


def contender(name: str, threads: int, size: float) -> dict[str, Prepare]:
    """The works that a contender takes part in. Raises ImportError where it is not installed."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_threads() != threads:
        raise RuntimeError(f"torch runs {torch.get_num_threads()} threads, expected {threads}")

    def rows(count: int, columns: int = DIM, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.empty(max(200, int(count * size)), columns).normal_(generator=generator)

    def features(count: int, seed: int = 0) -> torch.Tensor:
        return rows(count, seed=seed).relu_()  # as after a rectifier

    def labels(x: torch.Tensor) -> torch.Tensor:
        return torch.arange(len(x)) % CLASSES

    def scores(seed: int) -> Any:
        return rows(5_000_000, 1, seed)[:, 0].numpy()

    def unit(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(x, dim=1)

    if name == "ours":
        return _ours(rows, features, labels, scores)
    if name == "ceiling":
        return _ceiling(rows, features, scores)
    if name == "pytorch-ood":
        return _pytorch_ood(rows, features, labels)
    if name == "scikit-learn":
        from sklearn.covariance import EmpiricalCovariance
        from sklearn.metrics import roc_auc_score
        from sklearn.neighbors import NearestNeighbors

        def covariance() -> Run:
            x = features(50_000).numpy()
            return lambda: EmpiricalCovariance().fit(x)

        def brute() -> Run:
            search = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(unit(features(50_000)).numpy())
            x = features(10_000, 1)
            return lambda: search.kneighbors(unit(x).numpy())

        def area() -> Run:
            both, truth = np.concatenate([scores(0), scores(1)]), np.repeat([1, 0], len(scores(0)))
            return lambda: roc_auc_score(truth, both)

        return {"mahalanobis fit": covariance, "knn": brute, "auroc": area}
    if name == "faiss":
        import faiss

        faiss.omp_set_num_threads(threads)

        def flat(bank: int, queries: int) -> Prepare:
            def prepare() -> Run:
                index = faiss.IndexFlatL2(DIM)
                index.add(unit(features(bank)).numpy())
                x = features(queries, 1)
                return lambda: index.search(unit(x).numpy(), K)

            return prepare

        return {"knn": flat(50_000, 10_000), "knn, large": flat(500_000, 2_000)}

    def densities() -> Run:  # "torch": the form of DDU's own code
        train, new = features(50_000).double(), features(10_000, 1).double()
        parts = [train[labels(train) == c] for c in range(CLASSES)]
        means = torch.stack([part.mean(dim=0) for part in parts])
        added = 1e-4 * torch.eye(DIM, dtype=torch.float64)
        gaussians = torch.distributions.MultivariateNormal(means, torch.stack([part.T.cov() + added for part in parts]))
        return lambda: gaussians.log_prob(new[:, None]).logsumexp(dim=1)

    return {"ddu score": densities}


def _ceiling(rows: Any, features: Any, scores: Any) -> dict[str, Prepare]:
    import numpy as np
    import torch

    def product(bank: int, queries: int, steps: int = 1000) -> Prepare:
        def prepare() -> Run:
            t, x = features(bank), features(queries, 1)
            parts = [x[i : i + steps] for i in range(0, len(x), steps)]
            step = 8192
            return lambda: [[part @ t[j : j + step].T for j in range(0, len(t), step)] for part in parts][:0]

        return prepare

    def gram(count: int) -> Prepare:
        def prepare() -> Run:
            x = features(count).double()
            return lambda: x.T @ x

        return prepare

    def times(count: int, columns: int, share: float = 1.0) -> Prepare:
        def prepare() -> Run:
            x, w = features(count).double(), torch.randn(DIM, int(columns * share), dtype=torch.float64)
            return lambda: x @ w

        return prepare

    def large() -> Run:
        x, w = features(50_000).double(), torch.randn(DIM, DIM, dtype=torch.float64)
        return lambda: ([x.T @ x for _ in range(10)], [x @ w for _ in range(20)])[:0]

    def copy(count: int, columns: int) -> Prepare:
        def prepare() -> Run:
            x = rows(count, columns)
            return x.clone

        return prepare

    def logsumexp() -> Run:
        x = rows(1_000_000, CLASSES).double()
        return lambda: x.logsumexp(dim=1)

    def sort() -> Run:
        both = np.concatenate([scores(0), scores(1)])
        return lambda: np.sort(both)

    return {
        "feature norm": copy(200_000, DIM),
        "max logit": copy(1_000_000, CLASSES),
        "msp": logsumexp,
        "energy": logsumexp,
        "mahalanobis fit": gram(50_000),
        "ssd fit": gram(50_000),
        "mahalanobis score": times(10_000, DIM),
        "ddu score": times(10_000, CLASSES * DIM, 0.5),
        "knn": product(50_000, 10_000),
        "knn, large": product(500_000, 2_000),
        "mahalanobis, large": large,
        "auroc": sort,
        "all metrics": sort,
        "neural collapse": gram(50_000),
    }


def _ours(rows: Any, features: Any, labels: Any, scores: Any) -> dict[str, Prepare]:
    from ood_core import Outputs, collapse, metrics, scorers

    def outputs(x: Any) -> Any:
        return Outputs(features=x, labels=labels(x))

    def scoring(name: str, train: int, queries: int, **parameters: Any) -> Prepare:
        def prepare() -> Run:
            scorer, new = scorers.make(name, **parameters).fit(outputs(features(train))), outputs(features(queries, 1))
            return lambda: scorer.score(new)

        return prepare

    def of_logits(name: str) -> Prepare:
        def prepare() -> Run:
            x = rows(1_000_000, CLASSES)
            both = Outputs(features=x, logits=x)
            scorer = scorers.make(name).fit(both)
            return lambda: scorer.score(both)

        return prepare

    def fitting(name: str) -> Prepare:
        def prepare() -> Run:
            train = outputs(features(50_000))
            return lambda: scorers.make(name).fit(train)

        return prepare

    def large() -> Run:
        train, part = outputs(features(500_000)), outputs(features(50_000, 1))

        def run() -> None:
            scorer = scorers.make("mahalanobis").fit(train)
            for _ in range(20):
                scorer.score(part)

        return run

    def judging(function: Callable[[Any, Any], Any]) -> Prepare:
        def prepare() -> Run:
            inside, outside = scores(0), scores(1)
            return lambda: function(inside, outside)

        return prepare

    def collapsed() -> Run:
        x = features(50_000)
        y, weight = labels(x), rows(200)[:CLASSES]
        return lambda: collapse.measure(x, y, weight)

    return {
        "feature norm": scoring("feature_norm", 1000, 200_000),
        "max logit": of_logits("max_logit"),
        "msp": of_logits("msp"),
        "energy": of_logits("energy"),
        "mahalanobis fit": fitting("mahalanobis"),
        "ssd fit": fitting("ssd"),
        "mahalanobis score": scoring("mahalanobis", 50_000, 10_000),
        "ddu score": scoring("ddu", 50_000, 10_000),
        "knn": scoring("knn", 50_000, 10_000, k=K),
        "knn, large": scoring("knn", 500_000, 2_000, k=K),
        "mahalanobis, large": large,
        "auroc": judging(metrics.auroc),
        "all metrics": judging(metrics.evaluate),
        "neural collapse": collapsed,
    }


def _pytorch_ood(rows: Any, features: Any, labels: Any) -> dict[str, Prepare]:
    from ood_core import _torchvision
    from ood_core.checks import InputError

    try:
        _torchvision.torchvision()
    except InputError as error:
        raise ImportError(str(error)) from error
    from pytorch_ood import detector as peer

    def fitting() -> Run:
        x = features(50_000)
        y = labels(x)
        return lambda: peer.Mahalanobis(None).fit_features(x, y)

    def mahalanobis() -> Run:
        train, new = features(50_000), features(10_000, 1)
        fitted = peer.Mahalanobis(None).fit_features(train, labels(train))
        return lambda: fitted.predict_features(new)

    def neighbours() -> Run:
        train, new = features(50_000), features(10_000, 1)
        fitted = peer.KNN(None, k=K).fit_features(train, labels(train))
        return lambda: fitted.predict_features(new)

    def of_logits(name: str) -> Prepare:
        def prepare() -> Run:
            x = rows(1_000_000, CLASSES)
            return lambda: getattr(peer, name)(None).predict_logits(x)

        return prepare

    return {
        "max logit": of_logits("MaxLogit"),
        "msp": of_logits("MaxSoftmax"),
        "energy": of_logits("EnergyBased"),
        "mahalanobis fit": fitting,
        "mahalanobis score": mahalanobis,
        "knn": neighbours,
    }


def memory(key: str) -> float:
    """A line of /proc/self/status in MB, 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


def reset_peak() -> None:
    """Let the peak begin anew, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def give_back() -> None:
    """Freed memory back to the system, so that the next peak is the next work's."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
