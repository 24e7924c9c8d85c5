"""Measures of a classifier's predictions: pure functions of arrays, computed in float64."""

from typing import NamedTuple

import numpy
from numpy import ndarray

Z95 = 1.959964  # of the normal distribution, for 95 %
BINS = 15  # of the expected calibration error, as in Guo et al. 2017, arXiv 1706.04599


def wilson(hits: float, n: int) -> tuple[float, float]:
    """The interval that holds a share with 95 % confidence, after `hits` of `n` (Wilson 1927)."""
    share, z2 = hits / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


class PerClass(NamedTuple):
    """Measures by class, each (K,). Where nothing is divided by, they are 0."""

    images: ndarray
    precision: ndarray
    recall: ndarray
    f1: ndarray


def per_class(label: ndarray, predicted: ndarray, classes: int) -> PerClass:
    """Measures by class of labels and predicted classes, each (n,)."""
    images, answers = numpy.bincount(label, minlength=classes), numpy.bincount(predicted, minlength=classes)
    hits = numpy.bincount(label[label == predicted], minlength=classes)
    return PerClass(images, _ratio(hits, answers), _ratio(hits, images), _ratio(2 * hits, images + answers))


def _ratio(above: ndarray, below: ndarray) -> ndarray:
    return numpy.divide(above, below, out=numpy.zeros(len(above)), where=below > 0)


def confused_pairs(label: ndarray, predicted: ndarray) -> list[tuple[int, int, int]]:
    """(true class, predicted class, images) of the wrong predictions, the most frequent first."""
    wrong = numpy.stack((label, predicted), axis=1)[label != predicted]
    pairs, counts = numpy.unique(wrong, axis=0, return_counts=True)
    order = numpy.argsort(-counts, kind="stable")
    return [(int(pairs[i, 0]), int(pairs[i, 1]), int(counts[i])) for i in order]


def confusion(label: ndarray, predicted: ndarray, classes: int) -> ndarray:
    """(K, K) images, a row for each true class."""
    return numpy.bincount(label * classes + predicted, minlength=classes**2).reshape(classes, classes)


def leaf_order(matrix: ndarray) -> list[int]:
    """An order of classes in which confused ones are neighbours: the leaves of an average-linkage tree."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return list(range(len(matrix)))
    shares = matrix / numpy.maximum(matrix.sum(axis=1, keepdims=True), 1)
    distance = 1 - numpy.clip((shares + shares.T) / 2, 0, 1)
    numpy.fill_diagonal(distance, 0)
    return [int(leaf) for leaf in leaves_list(linkage(squareform(distance, checks=False), "average", True))]


class Calibration(NamedTuple):
    """Confidence and accuracy by bin of confidence, each (bins,); 0 where a bin has no images."""

    ece: float
    images: ndarray
    confidence: ndarray
    accuracy: ndarray


def calibration(confidence: ndarray, correct: ndarray, bins: int = BINS) -> Calibration:
    """The expected calibration error: the mean distance of confidence and accuracy over bins of equal width."""
    place = numpy.clip(numpy.digitize(confidence, numpy.linspace(0, 1, bins + 1)) - 1, 0, bins - 1)
    images = numpy.bincount(place, minlength=bins)
    means = [_ratio(numpy.bincount(place, values, bins), images) for values in (confidence, correct)]
    ece = float((images / max(len(place), 1) * abs(means[0] - means[1])).sum())
    return Calibration(ece, images, *means)


class Softmax(NamedTuple):
    """Logits, for a softmax at another temperature. It is exact up to k classes: those beyond share the remaining
    probability equally."""

    logits: ndarray  # (n, k + 1), the largest first; the last is that of each class beyond
    counts: ndarray  # (k + 1,) how many classes have each: 1, ..., 1, the number of those beyond
    true: ndarray  # (n,) the logit of the true class

    def log_sum_exp(self, temperature: float) -> ndarray:
        from scipy.special import logsumexp

        return logsumexp(self.logits / temperature, axis=1, b=self.counts)

    def nll(self, temperature: float) -> float:
        return float(numpy.mean(self.log_sum_exp(temperature) - self.true / temperature))

    def confidence(self, temperature: float) -> ndarray:
        """(n,) probability of the most probable class."""
        return numpy.exp(self.logits[:, 0] / temperature - self.log_sum_exp(temperature))

    def best_temperature(self) -> float:
        """The temperature of the lowest negative log-likelihood, between 1/20 and 20."""
        from scipy.optimize import minimize_scalar

        found = minimize_scalar(lambda log: self.nll(float(numpy.exp(log))), bounds=(-3, 3), method="bounded")
        return float(numpy.exp(found.x))

    def rescaled_confidence(self) -> ndarray:
        """(n,) confidence after temperature scaling: every other image at the temperature of those between."""
        found = numpy.empty(len(self.true))
        halves = [Softmax(self.logits[start::2], self.counts, self.true[start::2]) for start in (0, 1)]
        for start, half in enumerate(halves):
            found[start::2] = half.confidence(halves[1 - start].best_temperature())
        return found
