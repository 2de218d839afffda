"""Teachers' vectors as targets: heads fit, follow, and are judged on texts they have not seen."""

import pytest
import torch

from trainer.distributed import Processes
from trainer.heads import Heads, Lesson

_WIDTH, _TAUGHT = 8, 12


@pytest.fixture
def truth():
    """A linear map that the teacher is of the student; lengths stay as they are."""
    columns = torch.randn(_TAUGHT, _WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.linalg.qr(columns).Q.T


def heads(teachers=1):
    return Heads(Processes("cpu"), teachers, _TAUGHT)


def students(seed, texts=40):
    return torch.randn(texts, _WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lesson(vectors, truth, teacher=0, texts=None):
    places = torch.arange(len(vectors)) if texts is None else torch.tensor(texts)
    taught = torch.nn.functional.normalize(torch.nn.functional.normalize(vectors) @ truth)
    return Lesson(teacher, places, taught[places])


def test_a_head_finds_the_map_there_is(truth):
    found = heads()
    for seed in range(20):
        vectors = students(seed)
        gradient, loss = found.gradient(vectors, [lesson(vectors, truth)])
    assert loss < 1e-4
    assert gradient.norm() < 1e-3


def test_a_batch_is_judged_by_heads_that_have_not_seen_it(truth):
    found = heads()
    gradient, loss = found.gradient(students(0), [lesson(students(0), truth)])
    assert (loss, gradient.abs().max()) == (0, 0)
    nonsense = Lesson(0, torch.arange(40), torch.nn.functional.normalize(torch.randn(40, _TAUGHT)))
    _, loss = found.gradient(students(1), [nonsense])
    assert loss > 0.5


def test_a_head_that_has_seen_too_little_is_not_used(truth):
    found = heads()
    few = students(0, texts=2 * _WIDTH - 1)
    found.gradient(few, [lesson(few, truth)])
    assert found.gradient(students(1), [lesson(students(1), truth)])[1] == 0
    assert found.gradient(students(2), [lesson(students(2), truth)])[1] > 0


def test_the_gradient_is_that_of_the_loss(truth):
    vectors, other = students(3, texts=5), torch.randn(_WIDTH, _TAUGHT, dtype=torch.float64)
    lessons = [lesson(vectors, other, texts=[0, 2, 2])]

    def learnt():
        found = heads()
        for seed in range(3):
            found.gradient(students(seed), [lesson(students(seed), truth)])
        return found

    gradient, _ = learnt().gradient(vectors, lessons)
    for row, column in ((0, 1), (2, 5), (1, 3)):
        step = torch.zeros_like(vectors)
        step[row, column] = 1e-6
        up, down = (learnt().gradient(vectors + sign * step, lessons)[1] for sign in (1, -1))
        assert float(gradient[row, column]) == pytest.approx((up - down) / 2e-6, abs=1e-7)
    assert gradient[2].norm() > 0
    assert gradient[[1, 3, 4]].abs().max() == 0


def test_each_teacher_has_its_head_and_their_losses_are_added(truth):
    both, first, second = heads(2), heads(), heads()
    other = truth.flip(0)
    for seed in range(4):
        vectors = students(seed)
        one, two = lesson(vectors, truth), lesson(vectors, other, texts=[*range(30)])
        found = both.gradient(vectors, [one, Lesson(1, two.texts, two.vectors)])
        apart = first.gradient(vectors, [one]), second.gradient(vectors, [two])
    assert found[1] == pytest.approx(apart[0][1] + apart[1][1])
    torch.testing.assert_close(found[0], apart[0][0] + apart[1][0])


def test_heads_go_on_from_what_they_kept(truth):
    whole, broken = heads(), heads()
    for seed in range(6):
        if seed == 3:
            kept = broken.tensors() | {"weights/other": torch.zeros(1)}
            broken = heads()
            broken.restore(kept)
        vectors = students(seed)
        expected = whole.gradient(vectors, [lesson(vectors, truth)])
        found = broken.gradient(vectors, [lesson(vectors, truth)])
    assert found[1] == expected[1]
    assert torch.equal(found[0], expected[0])
