import pytest
import torch

from training.family import TrainSection, family, settings
from training.vision.model import Net, moved

FAMILY = family("vision")


@pytest.mark.parametrize(
    ("shape", "left"), [((1, 4, 4), (16, 2)), ((1, 8, 8), (32, 2)), ((3, 28, 28), (64, 3)), ((1, 64, 48), (64, 3))]
)
def test_the_net_takes_images_of_any_size(shape, left):
    """The stages follow from the image's size: it is halved until little is left, four times at most."""
    net = Net(shape, 5, width=8, dropout=0.1, mean=0.0, deviation=1.0)
    assert net(torch.rand(2, *shape)).shape == (2, 5)
    assert net.stages[-1][0].out_channels == left[0]


def test_tiny_is_tiny():
    """The smallest size has a few thousand parameters for 8 x 8 images of ten classes."""
    net = Net((1, 8, 8), 10, width=int(FAMILY.defaults("tiny")["width"]), dropout=0.1, mean=0.0, deviation=1.0)
    assert sum(p.numel() for p in net.parameters()) < 10_000


def test_sizes_share_their_keys():
    """Every size knows the same settings, and the search space names only settings that exist."""
    keys = [set(FAMILY.defaults(size)) for size in ("tiny", "small", "base")]
    assert keys[0] == keys[1] == keys[2]
    assert set(FAMILY.search_space("tiny")) <= keys[0]
    assert settings(FAMILY, TrainSection(model={"width": 16}, max_steps=7)) == dict(FAMILY.defaults("tiny")) | {
        "width": 16,
        "max_steps": 7,
    }


def test_a_moved_image_keeps_its_picture():
    """Moving shifts what is there and fills the edge with zeros; by nothing it changes nothing."""
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    torch.manual_seed(0)
    places = {tuple(torch.nonzero(moved(x, 1)[0, 0])[0].tolist()) for _ in range(200)}
    assert places == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert torch.equal(moved(x, 0), x)
