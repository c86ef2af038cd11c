"""Words of Chinese text with what they are, line by line, in a terminal.

edge-kit demo tag --text news.txt
"""

import re

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import MAIN, Graphs, Tensors
from edge_kit.core.words import LENGTHS, CharacterPreprocess, text_fault
from edge_kit.tasks.tag_text import best_paths, words_of

CLAUSE = re.compile(r"[^。！？；，]*[。！？；，]*")


class Tag:
    """Over any bundle that gives every character a tag; see `TextDemo` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess, self.labels = bundle.preprocess_as(CharacterPreprocess), bundle.manifest.labels

    def parse(self, text: str) -> Tensors:
        fault = text_fault(text)
        if fault:
            raise BadData(f"it {fault}")
        return self.preprocess(self.parts(text))

    def parts(self, text: str) -> list[str]:
        """A text in parts that the network takes, cut behind clauses where they are short enough."""
        parts = [""]
        for clause in CLAUSE.findall(text):
            if len(parts[-1]) + len(clause) > self.preprocess.length:
                parts.append("")
            while len(clause) > self.preprocess.length:
                parts[-1], clause = clause[: self.preprocess.length], clause[self.preprocess.length :]
                parts.append("")
            parts[-1] += clause
        return [part for part in parts if part]

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return {**graphs[MAIN](inputs), LENGTHS: inputs[LENGTHS]}

    def read(self, outputs: Tensors) -> Answer:
        emissions = np.asarray(outputs["emissions"])
        if emissions.ndim != 3 or emissions.shape[2] != len(self.labels) or not np.isfinite(emissions).all():
            raise BadData(f"output 'emissions' of shape {emissions.shape} does not tell {len(self.labels)} tags apart")
        words, start = [], 0
        for path in best_paths(emissions, outputs["transitions"][0], outputs[LENGTHS]):
            for first, end, kind in words_of([self.labels[i] for i in path]):
                words.append([start + first, start + end, kind])
            start += len(path)
        return {"words": words}

    def write(self, text: str, answer: Answer) -> str:
        return "  ".join(f"{text[start:end]}/{kind}" for start, end, kind in answer["words"])

    def same(self, first: Answer, second: Answer) -> bool:
        return bool(first["words"] == second["words"])


register(DemoKind("tag", "words of a text, and what they are", ("tag_text",), Tag, "lac"))
