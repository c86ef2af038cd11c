"""Mini data in ChnSentiCorp's format: Chinese reviews put together from phrases, by a stated process.

No labelled Chinese text comes with a package that is installed, so this is not real language: it is made so that
reading in order pays and learning by heart does not. A review says something of one or more things, in clauses that
are positive or negative. What it says at last counts: a clause before 'but' is of the other kind, a negation turns a
word around. Test reviews are of things that no training review names and that the vocabulary lacks, in patterns that
no training review has. Words of praise and blame are the same in both, as nobody could guess those.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings

REPORT_EVERY = 512
SPLITS = ("train", "dev", "test")
THINGS = {
    "train": (
        "房间", "前台", "位置", "服务", "空调", "浴室", "大堂", "价格", "屏幕", "键盘",
        "电池", "外观", "速度", "系统", "声音", "内容", "文字", "情节", "插图", "纸张",
    ),
    "test": ("早餐", "床铺", "电梯", "停车场", "散热", "接口", "做工", "翻译", "印刷", "故事"),
}  # fmt: skip
RARE = ("锦江", "如家", "汉庭", "联想", "惠普", "戴尔", "余华", "莫言", "金庸")  # in texts, not in the vocabulary
RARE_SHARE = 0.2
WORDS = (  # of blame and of praise
    ("差", "脏", "吵", "旧", "难看", "糟糕", "麻烦", "冷淡", "昂贵", "卡顿", "无聊", "模糊", "粗糙", "破烂", "敷衍"),
    (
        "好",
        "干净",
        "安静",
        "新",
        "漂亮",
        "出色",
        "方便",
        "热情",
        "实惠",
        "流畅",
        "精彩",
        "清楚",
        "细致",
        "结实",
        "周到",
    ),
)
VERDICTS = (
    ("不 会 再 来 了", "后悔 买 了", "让 人 失望", "不 推荐", "不 值 这个 价"),
    ("还 会 再 来", "值得 买", "让 人 满意", "推荐 大家", "物 有 所 值"),
)
DEGREES = ("很", "非常", "特别", "真", "相当", "比较")
NEGATIONS = ("不", "并 不", "一点 也 不", "不 怎么")
NEUTRAL = ("上周 出差 住 的", "朋友 介绍 的", "用 了 一个 月", "昨天 刚 到", "第 一次 买", "和 家人 一起 去 的")
# of clauses: '=' is of the review's kind, '!' of the other, 'n' says nothing, 'v' is a verdict of the review's kind
PATTERNS = {
    "train": ("=", "= ， =", "n ， =", "虽然 ! ， 但是 =", "! ， 不过 v", "= ， v", "n ， ! ， 但是 v", "v"),
    "test": ("n ， = ， =", "虽然 ! ， 不过 =", "n ， 虽然 ! ， 但是 v", "! ， ! ， 但是 =", "= ， n", "n ， v"),
}


CARD = Card(
    "Generated Chinese reviews in ChnSentiCorp's format",
    "These are not real reviews and no sample of ChnSentiCorp, but put together from phrases.",
    (
        "Half of the reviews are positive; dev.tsv has as many as test.tsv.",
        "The label is that of what is said last: what stands before 'but' is of the other kind; negations turn words "
        "around.",
        "dev.tsv and test.tsv speak of things, and in patterns, that train.tsv has not; word_dict.txt holds the words "
        f"of train.tsv alone, but for {len(RARE)} names, which stand in all three for words that nobody knows.",
        "Words of praise and blame are the same everywhere.",
        "Accuracy on it says that a model learned to read in order, and nothing of ChnSentiCorp.",
    ),
    "accuracy 50 %, as both classes are equally frequent",
    "reviews",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    folder.mkdir(parents=True, exist_ok=True)
    total, done = settings.train + 2 * settings.evaluation, 0
    for split in SPLITS:
        lines = ["text_a\tlabel\n"]
        for i in range(settings.train if split == "train" else settings.evaluation):
            label = i % 2
            review = _review(split, label, np.random.default_rng([settings.seed, SPLITS.index(split), i]))
            lines.append(f"{review}\t{label}\n")
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "word_dict.txt").write_text("".join(f"{word}\n" for word in vocabulary()), encoding="utf-8")


def vocabulary() -> list[str]:
    """Every word that training reviews are put together from, but for the rare ones."""
    phrases = [*THINGS["train"], *WORDS[0], *WORDS[1], *VERDICTS[0], *VERDICTS[1], *DEGREES, *NEGATIONS, *NEUTRAL]
    phrases += ["， 。 虽然 但是 不过"]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _review(split: str, label: int, rng: np.random.Generator) -> str:
    held_out = "train" if split == "train" else "test"
    parts = []
    for part in _one(PATTERNS[held_out], rng).split():
        kind = {"=": label, "!": 1 - label}.get(part)
        if kind is not None:
            parts.append(_clause(held_out, kind, rng))
        elif part in "nv":
            parts.append(_one(NEUTRAL if part == "n" else VERDICTS[label], rng))
        else:
            parts.append(part)
    return " ".join([*parts, "。"])


def _clause(held_out: str, kind: int, rng: np.random.Generator) -> str:
    """One thing, and a word of that kind or a negated one of the other."""
    thing = _one(THINGS[held_out], rng)
    if rng.random() < RARE_SHARE:
        thing = f"{_one(RARE, rng)} {thing}"
    negated = rng.random() < 0.3
    word = _one(WORDS[1 - kind if negated else kind], rng)
    return f"{thing} {_one(NEGATIONS if negated else DEGREES, rng)} {word}"


def _one(choices: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
