"""AlexNet. Krizhevsky et al. 2012, NIPS, in the one column of Krizhevsky 2014, arXiv:1404.5997.

Paddle's own network: neither local response normalisation nor groups.
"""

from dataclasses import replace

from paddle.vision.models import AlexNet

from edge_kit.zoo.classification.imagenet import PADDLE_CLAS, STEP, Family, mini_setup

Family(
    paper="arXiv:1404.5997",
    source="paddle.vision.models.alexnet; recipe of PaddlePaddle/models release/1.6",
    # The linear layers take 6x6 pixels, which is what 223 px and more become.
    mini=mini_setup(side=224, batch=32, train=1024, learning_rate=0.01),
).add(
    "alexnet",
    "AlexNet",
    AlexNet,
    61_100_840,
    714_188_480,
    (56.72, 79.17),
    replace(STEP, learning_rate=0.01),
    f"{PADDLE_CLAS}/AlexNet_pretrained.pdparams",
)
