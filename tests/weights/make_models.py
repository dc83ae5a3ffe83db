"""Writes data/*.pth with torch: whole models in both formats, and TorchScript; run by hand:

python tests/weights/make_models.py
"""

import io
import sys
import types
import zipfile
from pathlib import Path

import torch

FOLDER = Path(__file__).parent / "data"


class Attention(torch.nn.Module):
    """A module of the model's own package, with parameters, buffers and plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.arange(3.0))
        self.register_buffer("kept", torch.tensor([7.0]))
        self.register_buffer("passing", torch.tensor([8.0]), persistent=False)
        self.names = {"a", "b"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale[:, None, None] + self.kept


class Net(torch.nn.Module):
    """Convolution, batch norm, the module above, and one that is registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3))
        self.attention = Attention()
        self.again = self.attention
        self.activation = torch.nn.functional.relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.again(self.attention(self.body(x))))


def main() -> None:
    """Write the files, and what state_dict() says."""
    torch.manual_seed(0)
    net = Net().eval()
    Net.__module__ = Attention.__module__ = "somebodys.models"
    sys.modules["somebodys"], sys.modules["somebodys.models"] = types.ModuleType("somebodys"), types.ModuleType("models")
    sys.modules["somebodys.models"].Net, sys.modules["somebodys.models"].Attention = Net, Attention
    # Sources and their paths are no business of ours.
    torch.serialization.get_source_lines_and_file = lambda obj: (["class Source: ..."], 0, "models.py")
    torch.save(net.state_dict(), FOLDER / "net_state.pth")
    torch.save(net, FOLDER / "net_zip.pth")
    torch.save(net, FOLDER / "net_protocol4.pth", pickle_protocol=4)
    torch.save(net, FOLDER / "net_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "model": torch.nn.DataParallel(net)}, FOLDER / "net_wrapped.pth")
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 2, 2)), stream)
    with zipfile.ZipFile(stream) as read, zipfile.ZipFile(FOLDER / "net_script.pth", "w") as written:
        for info in read.infolist():
            if not info.filename.endswith(".debug_pkl"):
                written.writestr(info, read.read(info), info.compress_type)


if __name__ == "__main__":
    main()
