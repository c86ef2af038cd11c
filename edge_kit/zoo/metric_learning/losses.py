"""What embeddings are trained by: from embeddings (N, width) and labels (N,) to the scalar to minimise.

Where batches are made of pairs, samples 2i and 2i + 1 show the same thing and no other pair shows it.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn
from paddle.nn import functional
from paddle.nn.initializer import XavierUniform

TINY = 1e-6  # under the root of a sine, whose slope at 0 is infinite
EVEN = 20.0  # EML's b from which log(1 + beta theta e^b) is the logarithm of its second summand


class ArcMargin(nn.Layer):
    """Softmax cross entropy over cosines to a direction a class, the true one's angle widened.

    Source: Deng et al. 2018, arXiv:1801.07698, equation 3; scale and margin as PaddlePaddle/models has them.
    """

    def __init__(self, num_classes: int, width: int, scale: float = 80.0, margin: float = 0.15) -> None:
        super().__init__()
        self.weight = self.create_parameter([num_classes, width], default_initializer=XavierUniform())
        self.scale, self.margin = scale, margin

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        cosine = functional.normalize(embedding) @ functional.normalize(self.weight).t()
        sine = paddle.sqrt(1 - cosine**2 + TINY)
        widened = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        # Beyond pi - margin the widened angle would wrap around: there the cosine falls on in a line.
        beyond = cosine - self.margin * math.sin(math.pi - self.margin)
        widened = paddle.where(cosine > math.cos(math.pi - self.margin), widened, beyond)
        own = functional.one_hot(label, cosine.shape[1])
        return functional.cross_entropy(self.scale * (cosine + own * (widened - cosine)), label)


class Triplet(nn.Layer):
    """How much nearer a sample must be to one of its class than to another; samples are anchor, positive, negative.

    Source: Schroff et al. 2015, arXiv:1503.03832, equation 3.
    """

    def __init__(self, num_classes: int, width: int, margin: float = 0.1) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        of_three = functional.normalize(embedding).reshape([-1, 3, embedding.shape[1]])  # (3N, width) -> (N, 3, width)
        near, far = (((of_three[:, 0] - of_three[:, i]) ** 2).sum(1) for i in (1, 2))
        return functional.relu(near - far + self.margin).mean()


class Quadruplet(nn.Layer):
    """The widest pair of one class of the batch against its narrowest of two.

    Source: Xiao et al. 2017, arXiv:1710.00478, equation 5.
    """

    def __init__(self, num_classes: int, width: int, margin: float = 0.1) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        distance, same, other = _pairwise(functional.normalize(embedding), label)
        widest = paddle.where(same, distance, paddle.zeros_like(distance)).max()
        return functional.relu(widest - _least(distance, other).min() + self.margin)


class Eml(nn.Layer):
    """A smooth count of the samples of other classes that are nearer than the farthest of one's own.

    Source: PaddlePaddle/models release/1.6, PaddleCV/metric_learning, which cites arXiv:1212.6094.
    """

    def __init__(self, num_classes: int, width: int, beta: float = 1e5) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        distance, same, other = _pairwise(embedding, label)
        zeros = paddle.zeros_like(distance)
        farthest = paddle.where(same, distance, zeros - math.inf).max(1, keepdim=True)
        nearest = _least(distance, other).min(1, keepdim=True)
        theta = _mean_of(paddle.exp(paddle.where(same, distance - farthest, zeros)), same)
        theta = theta * _mean_of(paddle.exp(paddle.where(other, nearest - distance, zeros)), other)
        b = (farthest - nearest).squeeze(1)
        exact = paddle.log1p(self.beta * theta * paddle.exp(paddle.clip(b, max=EVEN)))
        return ((exact + paddle.clip(b - EVEN, min=0)) / math.log1p(self.beta)).mean()


class NPairs(nn.Layer):
    """Softmax cross entropy of each pair's first against all second ones, and a little of the embeddings' size.

    Source: Sohn 2016, Improved deep metric learning with multi-class N-pair loss objective, NIPS 29.
    """

    def __init__(self, num_classes: int, width: int, weight: float = 0.01) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        pairs = embedding.reshape([-1, 2, embedding.shape[1]])  # (2N, width) -> (N, 2, width)
        likeness = pairs[:, 0] @ pairs[:, 1].t()
        size = (embedding**2).sum(1).mean()
        return functional.cross_entropy(likeness, paddle.arange(len(pairs))) + 0.5 * self.weight * size


def _pairwise(embedding: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distances (N, N), and which pairs are two samples of one class, or of two."""
    size = (embedding**2).sum(1, keepdim=True)
    distance = paddle.clip(size + size.t() - 2 * embedding @ embedding.t(), min=0)
    same = label.unsqueeze(1) == label.unsqueeze(0)
    itself = paddle.eye(len(label)).astype("bool")
    return distance, paddle.logical_and(same, ~itself), ~same


def _least(distance: Tensor, among: Tensor) -> Tensor:
    return paddle.where(among, distance, paddle.full_like(distance, math.inf))


def _mean_of(values: Tensor, among: Tensor) -> Tensor:
    """Mean of some values of each row, (N,)."""
    counted = among.astype(values.dtype)
    return (values * counted).sum(1) / counted.sum(1)
