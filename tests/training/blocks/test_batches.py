import pytest
import torch

from training.blocks.batches import Batches

X = torch.arange(10)


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_pass_holds_every_row_once(shuffle):
    """One pass gives every row of every tensor exactly once, rows of the tensors staying together."""
    batches = Batches(X, X * 2, size=4, shuffle=shuffle)
    pairs = list(batches)
    assert len(batches) == len(pairs) == 3
    assert sorted(torch.cat([x for x, _ in pairs]).tolist()) == list(range(10))
    assert all(torch.equal(2 * x, y) for x, y in pairs)


def test_passes_differ_and_repeat_by_the_seed():
    """Each pass is shuffled anew, as torch's generator says."""
    batches = Batches(X, size=10, shuffle=True)

    def order() -> list[int]:
        return next(iter(batches))[0].tolist()

    torch.manual_seed(1)
    first, second = order(), order()
    torch.manual_seed(1)
    assert first == order()
    assert first != second


def test_few_rows_make_a_whole_epoch():
    """With `least`, few rows are gone through again until the epoch has that many batches."""
    batches = Batches(X, size=4, shuffle=True, least=8)
    seen = torch.cat([x for (x,) in batches])
    assert len(batches) == 9
    assert torch.bincount(seen).tolist() == [3] * 10
