"""AlexNet. Krizhevsky et al. 2012, NIPS, in the one column of Krizhevsky 2014, arXiv:1404.5997.

Paddle's own network: neither local response normalisation nor groups.
"""

from dataclasses import replace

from paddle.vision.models import AlexNet

from edge_kit.zoo.classification.imagenet import MINI_ADAM, PADDLE_CLAS, STEP, Family, mini_setup

# Fitted to a batch first, 65,536 pictures end at 95.7 % instead of 92.7 % (the same network in PyTorch, on an H100).
MINI_RECIPE = replace(MINI_ADAM, batch_size=64, learning_rate=3e-4, label_smoothing=0.1, settled=True)

Family(
    paper="arXiv:1404.5997",
    source="paddle.vision.models.alexnet; recipe of PaddlePaddle/models release/1.6",
    # The linear layers take 6x6 pixels, which is what 223 px and more become.
    mini=mini_setup(side=224, recipe=MINI_RECIPE),
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
