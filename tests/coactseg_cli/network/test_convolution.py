import pytest
import torch
from torch.nn import functional

from coactseg_cli.network import convolution
from coactseg_cli.network.convolution import Direct, Visits, Winograd, arranged


def kernel(channels_in=16, channels_out=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(channels_out, channels_in, 3, 3, 3, generator=generator) / (27 * channels_in) ** 0.5
    return weight, torch.randn(channels_out, generator=generator)


def expected(x, weight, bias, before, after):
    """In double precision, with zeros put around by hand."""
    padded = functional.pad(x.double(), (1, 1, 1, 1, before, after))
    return functional.conv3d(padded, weight.double(), None if bias is None else bias.double())


def close(found, wanted):
    assert found.shape == wanted.shape
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", [Direct, Winograd])
@pytest.mark.parametrize("rows", [3, 4, 5, 6, 7, 8, 9, 13, 14])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_convolution_over_some_rows(way, rows, before, after, samples):
    weight, bias = kernel()
    x = torch.randn(samples, 16, rows, 5, 6, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last_3d)
    close(way(weight, bias)(x, before, after), expected(x, weight, bias, before, after))


@pytest.mark.parametrize("rows", [12, 13, 23, 24])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("piece", [1, 8 * 32 * 30])  # the fewest rows at a time, and eight
def test_pieces_change_nothing(rows, before, after, piece, monkeypatch):
    weight, bias = kernel()
    x = torch.randn(1, 16, rows, 5, 6, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last_3d)
    monkeypatch.setattr(convolution, "PIECE", piece)
    close(Winograd(weight, bias)(x, before, after), expected(x, weight, bias, before, after))


@pytest.mark.parametrize("way", [Direct, Winograd])
@pytest.mark.parametrize("rows", [7, 8])
def test_some_of_the_channels(way, rows):
    weight, bias = kernel(16, 48)
    x = torch.randn(1, 16, rows, 4, 5, generator=torch.Generator().manual_seed(1))
    kept = x.clone()
    close(way(weight, bias)(x, 1, 0, slice(16, 32)), expected(x, weight, bias, 1, 0)[:, 16:32])
    assert torch.equal(x, kept)


def test_the_way_depends_on_the_width_and_on_the_numbers():
    assert isinstance(arranged(*kernel(16, 16), float32_on_cpu=True), Winograd)
    assert isinstance(arranged(*kernel(16, 16), float32_on_cpu=False), Direct)
    assert isinstance(arranged(*kernel(3, 16), float32_on_cpu=True), Direct)


def test_a_kernel_without_bias():
    weight, _ = kernel()
    x = torch.randn(1, 16, 6, 4, 4)
    for way in (Direct, Winograd):
        close(way(weight, None)(x), expected(x, weight, None, 1, 1))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_first_convolution_takes_visits(channels):
    """One channel has its strides in any order; the result must lie as the other layers want it, or each of them puts it in order."""
    weight, bias = kernel(3)
    visits = torch.randn(2, channels, 6, 5, 4)
    b, f = visits[:, :1], visits[:, min(channels, 2) - 1 : min(channels, 2)]
    three = torch.cat((b, f, visits[:, 2:] if channels == 3 else f - b), dim=1)
    found = Visits(weight, bias)(visits)
    close(found, expected(three, weight, bias, 1, 1))
    if channels == 1 and torch.backends.mkldnn.is_available():
        assert found.is_contiguous(memory_format=torch.channels_last_3d)


def test_small_inputs_in_float32_do_not_take_the_slow_way():
    """functional.conv3d hands a single sample with C * X * Y of 20,480 or less to a way of its own, which is a fifth as fast."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    with torch.inference_mode(), torch.profiler.profile() as profile:
        Direct(*kernel(3, 16))(torch.randn(1, 3, 8, 16, 16))
    names = {event.key for event in profile.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert not any("slow_conv3d" in name for name in names)
