"""Classification as the pages, the command line and REST see it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.services.access import Person, Role
from app.services.audit import AuditLog
from app.services.classify.classifiers import Classifier, ClassifierRefused, ClassifierStore, Label, Source
from app.services.classify.desk import Desk, NoWork, Training, Work
from app.services.classify.figures import figures
from app.services.classify.folds import near_duplicate_groups
from app.services.classify.heads import Head, described
from app.services.classify.predictions import (
    Prediction,
    check_threshold,
    checked_labels,
    predicted_table,
    predictions_of,
)
from app.services.classify.suggestions import label_next
from app.services.classify.tables import Example, read_table
from app.services.classify.training import Method, train
from app.services.classify.vectors import Progress, TextVectors, silent
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.catalog.label_tables import Label as DocumentLabel
from indexer.catalog.label_tables import LabelTable, Unit
from indexer.retrieval.generations import NotBuilt

KIND = "classifier"
"""What label sets of classifiers are called."""

AT_ONCE = 200
"""Texts up to which work is quick enough to be waited for."""

_NEXT = 20
_GATHERED = 1_000
"""Documents of a corpus to choose from when some are to be labelled."""

_LEAD_CHARACTERS = 2_000
"""What is read of a document: the model reads no more of it."""


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """Texts, and what to label them by: a classifier that is kept, or labels described on the spot.

    Attributes:
        threshold: Probability below which no label is given; None takes the classifier's own, else 0.
        instruction: For described labels, somebody's own in place of the task's.
    """

    texts: Sequence[str]
    classifier: str = ""
    labels: Sequence[Label] = ()
    threshold: float | None = None
    instruction: str = ""


@dataclass(frozen=True, slots=True)
class ClassifyAnswer:
    """What came of it.

    Attributes:
        model: Name of the model.
        version: Of the classifier; 0 for labels described on the spot.
        predictions: In the order of the texts.
    """

    model: str
    classifier: str
    version: int
    threshold: float
    predictions: tuple[Prediction, ...]


class ClassifyService:
    """One object for everything about classification. Safe between threads."""

    def __init__(
        self, vectors: TextVectors, folder: Path, catalog: Catalog, labels: LabelTable, audit: AuditLog
    ) -> None:
        """Nothing is made yet.

        Args:
            vectors: The model.
            folder: The installation's data folder.
            catalog: Where the documents of corpora are.
            labels: Where what is said of them goes.
            audit: Where it is written down who changed what.
        """
        self._vectors = vectors
        self._kept = ClassifierStore(folder / "classifiers")
        self._desk = Desk(folder / "classifying")
        self._catalog = catalog
        self._documents = Documents(catalog.database)
        self._labels = labels
        self._audit = audit

    def classify(self, request: ClassifyRequest, is_abandoned: Callable[[], bool] = lambda: False) -> ClassifyAnswer:
        """Label texts.

        Raises:
            NoClassifier: If the classifier is not there.
            ClassifierRefused: If labels or threshold cannot be.
            WrongModel: If the classifier was made with another model than the one served.
            Abandoned: If ``is_abandoned`` said so.
        """
        if request.classifier:
            classifier = self._fitting(request.classifier)
        else:
            classifier = self._described("", request.labels, 0.0, request.instruction)
        threshold = classifier.threshold if request.threshold is None else request.threshold
        check_threshold(threshold)
        vectors = self._vectors.passing(request.texts, classifier.source.instruction, is_abandoned)
        found = _said(classifier, vectors, threshold)
        return ClassifyAnswer(self._vectors.encoder.name, classifier.name, classifier.version, threshold, tuple(found))

    def classifiers(self) -> list[Classifier]:
        """Those that are kept, by name."""
        return self._kept.all()

    def begin(
        self, person: Person, examples: Sequence[Example], unlabelled: Sequence[str] = (), instruction: str = ""
    ) -> str:
        """Lay out examples to learn from, and return the id of the work.

        Raises:
            Forbidden: If the person is no editor.
            ClassifierRefused: If they have fewer than two labels, or too many.
        """
        person.must_be(Role.EDITOR)
        _check_examples(examples)
        return self._desk.begin(examples, unlabelled, instruction.strip())

    def work(self, id: str) -> Work:
        """Work in hand; raises NoWork if it is not there."""
        return self._desk.work(id)

    def relabel(self, person: Person, id: str, labels: Mapping[int, str | None]) -> None:
        """Correct examples, by their places: another label, or None to leave the example out.

        Raises:
            Forbidden: If the person is no editor.
            NoWork: If the work is not there.
            ClassifierRefused: If fewer than two labels would be left.
        """
        person.must_be(Role.EDITOR)
        work = self._desk.work(id)
        examples = [
            replace(example, label=label) if (label := labels.get(place, example.label)) else None
            for place, example in enumerate(work.examples)
        ]
        left = [example for example in examples if example is not None]
        _check_examples(left)
        self._desk.change(id, left, work.unlabelled)

    def add(self, person: Person, id: str, examples: Sequence[Example]) -> None:
        """Add examples; texts that had no label before have one now.

        Raises:
            Forbidden: If the person is no editor.
            NoWork: If the work is not there.
        """
        person.must_be(Role.EDITOR)
        work = self._desk.work(id)
        texts = {example.text for example in examples}
        whole = [*work.examples, *examples]
        _check_examples(whole)
        self._desk.change(id, whole, [text for text in work.unlabelled if text not in texts])

    def gather(self, person: Person, id: str, corpus: str) -> int:
        """Take documents of a corpus, evenly spread, as texts that could be labelled next; returns how many are new.

        Raises:
            Forbidden: If the person is no editor.
            NoWork: If the work is not there.
            NotBuilt: If the corpus has no index.
        """
        person.must_be(Role.EDITOR)
        work = self._desk.work(id)
        leads = [lead for _, lead in self._leads(corpus, _GATHERED)]
        known = {example.text for example in work.examples} | set(work.unlabelled)
        new = [lead for lead in dict.fromkeys(leads) if lead not in known]
        self._desk.change(id, work.examples, [*work.unlabelled, *new])
        return len(new)

    def train(self, person: Person, id: str, progress: Progress = silent) -> None:
        """Learn from the examples of a piece of work, judge what was learnt, and choose what to label next.

        Raises:
            Forbidden: If the person is no editor.
            NoWork: If the work is not there.
        """
        person.must_be(Role.EDITOR)
        work = self._desk.work(id)
        encoder = self._vectors.encoder
        texts = [*(example.text for example in work.examples), *work.unlabelled]
        vectors = self._vectors.kept(texts, work.instruction, lambda share, what: progress(0.8 * share, what))
        count, labels = len(work.examples), work.labels
        places = {label: place for place, label in enumerate(labels)}
        targets = np.array([places[example.label] for example in work.examples], dtype=np.int64)
        groups = near_duplicate_groups(texts[:count])
        trained = train(
            vectors[:count],
            targets,
            groups,
            len(labels),
            progress=lambda share: progress(0.8 + 0.2 * share, "learning"),
        )
        following = label_next(vectors[count:], trained.head.probabilities(vectors[count:]), _NEXT)
        source = Source.of(encoder, work.instruction)
        self._desk.put_training(id, Training(labels, targets, groups, trained, source, tuple(following), work.digest))

    def save(self, person: Person, id: str, name: str, threshold: float) -> Classifier:
        """Keep what was learnt under a name; returns it with its version.

        Raises:
            Forbidden: If the person is no editor.
            NoWork: If the work is not there, or nothing was learnt from it yet.
            ClassifierRefused: If the name or the threshold cannot be.
        """
        person.must_be(Role.EDITOR)
        check_threshold(threshold)
        training = self._desk.work(id).training
        if training is None:
            raise NoWork("Nothing was learnt from these examples yet; train first.")
        trained = training.trained
        judged = figures(trained.probabilities, training.targets, training.labels)
        return self._save(
            person,
            Classifier(
                name=name,
                labels=tuple(Label(label) for label in training.labels),
                head=trained.head,
                method=trained.method,
                source=training.source,
                threshold=threshold,
                examples=len(training.targets),
                accuracy=judged.accuracy,
                macro_f1=judged.macro_f1,
            ),
        )

    def save_described(
        self, person: Person, name: str, labels: Sequence[Label], threshold: float, instruction: str = ""
    ) -> Classifier:
        """Keep labels that are known by their description alone; returns the classifier with its version.

        Raises:
            Forbidden: If the person is no editor.
            ClassifierRefused: If name, labels or threshold cannot be.
        """
        person.must_be(Role.EDITOR)
        check_threshold(threshold)
        return self._save(person, self._described(name, labels, threshold, instruction))

    def remove(self, person: Person, name: str) -> None:
        """Forget a classifier with all its versions; what it said of corpora stays.

        Raises:
            Forbidden: If the person is no editor.
            NoClassifier: If it is not there.
        """
        person.must_be(Role.EDITOR)
        self._kept.remove(name)
        self._audit.note(person, "classifier.remove", name)

    def put_table(self, person: Person, data: bytes) -> str:
        """Take a table of texts to be labelled, and return the id it is found by.

        Raises:
            Forbidden: If the person is no editor.
            TableRefused: If it cannot be read.
        """
        person.must_be(Role.EDITOR)
        read_table(data)
        return self._desk.put_table(data)

    def predict_table(self, person: Person, name: str, table_id: str, column: str, progress: Progress = silent) -> int:
        """Label every row of a table; ``predictions`` has the outcome. Returns how many rows.

        Raises:
            Forbidden: If the person is no editor.
            NoClassifier: If the classifier is not there, NoWork if the table is not.
            TableRefused: If it has no such column.
            WrongModel: If the classifier was made with another model than the one served.
        """
        person.must_be(Role.EDITOR)
        classifier = self._fitting(name)
        table = read_table(self._desk.table(table_id))
        vectors = self._vectors.kept(table.column(column), classifier.source.instruction, progress)
        found = _said(classifier, vectors, classifier.threshold)
        self._desk.put_predictions(table_id, predicted_table(table, found))
        return len(found)

    def predictions(self, table_id: str) -> bytes:
        """A labelled table as CSV; raises NoWork if there is none."""
        return self._desk.predictions(table_id)

    def apply(self, person: Person, name: str, corpus: str, progress: Progress = silent) -> dict[str, int]:
        """Label every document of a corpus by its title and its beginning, as a filter in search.

        Vectors of the index cannot serve: they were made without the instruction of classification.

        Returns:
            How many documents each label was given to; those without a label are left out.

        Raises:
            Forbidden: If the person is no editor.
            NoClassifier: If the classifier is not there.
            NotBuilt: If the corpus has no index.
            WrongModel: If the classifier was made with another model than the one served.
            LabelsRefused: If labels of another kind have that name.
        """
        person.must_be(Role.EDITOR)
        classifier = self._fitting(name)
        leads = self._leads(corpus, None)
        vectors = self._vectors.kept([text for _, text in leads], classifier.source.instruction, progress)
        found = _said(classifier, vectors, classifier.threshold)
        given = [
            DocumentLabel(document, one.label, one.score)
            for (document, _), one in zip(leads, found, strict=True)
            if one.label is not None
        ]
        details = {
            "classifier": name,
            "version": classifier.version,
            "method": classifier.method.value,
            "threshold": classifier.threshold,
            "labels": [label.name for label in classifier.labels],
            "documents": len(leads),
        }
        self._labels.put(corpus, name, KIND, Unit.DOCUMENT, details, given)
        self._audit.note(person, "classifier.apply", name, corpus=corpus, version=str(classifier.version))
        return self._labels.counts(corpus, name)

    def _save(self, person: Person, classifier: Classifier) -> Classifier:
        kept = self._kept.save(classifier)
        self._audit.note(person, "classifier.save", kept.name, version=str(kept.version))
        return kept

    def _described(self, name: str, labels: Sequence[Label], threshold: float, instruction: str) -> Classifier:
        whole = checked_labels(labels)
        source = Source.of(self._vectors.encoder, instruction.strip())
        head: Head = described(self._vectors.of_labels(whole))
        return Classifier(name, whole, head, Method.DESCRIBED, source, threshold)

    def _fitting(self, name: str) -> Classifier:
        """A classifier that is kept and belongs to the model that is served."""
        classifier = self._kept.load(name)
        classifier.check(self._vectors.encoder)
        return classifier

    def _leads(self, corpus: str, limit: int | None) -> list[tuple[str, str]]:
        """Documents of a corpus: id, and title with the beginning of the text."""
        number = self._catalog.corpus(corpus).live
        if number is None:
            raise NotBuilt(f"The corpus {corpus} is not indexed yet; run kalm index build {corpus}.")
        leads = self._documents.beginnings(corpus, number, _LEAD_CHARACTERS, limit)
        return [(one.id, one.text if one.text.startswith(one.title) else f"{one.title}\n{one.text}") for one in leads]


def _said(classifier: Classifier, vectors: np.ndarray, threshold: float) -> list[Prediction]:
    names = [label.name for label in classifier.labels]
    return predictions_of(classifier.head.probabilities(vectors), names, threshold)


def _check_examples(examples: Sequence[Example]) -> None:
    labels = sorted({example.label for example in examples})
    if len(labels) < 2:
        only = f"All examples have the label {labels[0]}" if labels else "There are no examples"
        raise ClassifierRefused(f"{only}; a classifier needs examples of at least two.")
    checked_labels([Label(label) for label in labels])
