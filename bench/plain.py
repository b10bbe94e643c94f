"""The plain way to do the job, as one would write it down: what every figure of the benchmark is held against.

One matplotlib figure a driver, a PNG on disk and read back, an eager float32 ResNet-18 at 224 pixels, every picture
encoded again in every epoch. Nothing is done slowly on purpose.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.models import resnet18

from f1_predict.horizon import Snapshot

mpl.use("Agg")

TO_TENSOR = transforms.Compose(
    [
        transforms.Resize((224, 224)),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)


def laps_of(snapshot: Snapshot) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Laps and speeds in km/h of each driver."""
    frame = snapshot.laps.select("driver_id", "lap", "lap_time_s").drop_nulls()
    speeds = {}
    for (driver,), rows in frame.partition_by("driver_id", as_dict=True, maintain_order=True).items():
        seconds = rows["lap_time_s"].to_numpy()
        speeds[str(driver)] = (rows["lap"].to_numpy(), 3600.0 * (snapshot.race.course_length_km or 5.0) / seconds)
    return speeds


def draw(speeds: dict[str, tuple[np.ndarray, np.ndarray]], driver: str, path: Path) -> None:
    """One driver's speed trace with the field behind it, 800 x 600, as a PNG."""
    figure = _figure(speeds, driver)
    figure.savefig(path)
    plt.close(figure)


def _figure(speeds: dict[str, tuple[np.ndarray, np.ndarray]], driver: str) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 6), dpi=100)
    for other, (laps, speed) in speeds.items():
        if other != driver:
            axes.plot(laps, speed, color="0.8", linewidth=0.8)
    axes.plot(*speeds[driver], color="tab:blue", linewidth=2.0, label=driver)
    axes.set_xlabel("lap")
    axes.set_ylabel("speed (km/h)")
    axes.set_title(driver)
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def draw_array(speeds: dict[str, tuple[np.ndarray, np.ndarray]], driver: str) -> np.ndarray:
    """The same picture as an array, uint8 (600, 800, 3), without a PNG."""
    figure = _figure(speeds, driver)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    plt.close(figure)
    return pixels


def load(path: Path) -> Tensor:
    """A PNG as the network wants it: float32 (3, 224, 224)."""
    with Image.open(path) as image:
        tensor: Tensor = TO_TENSOR(image.convert("RGB"))
    return tensor


class Network(nn.Module):
    """A frozen ResNet-18 beside a dense layer over the table, fused: 640 -> 256 -> 128 -> places."""

    def __init__(self, features: int, places: int) -> None:
        super().__init__()
        self.backbone = resnet18(weights=None)
        self.backbone.fc = nn.Identity()
        self.backbone.requires_grad_(False).eval()
        self.table = nn.Sequential(nn.Linear(features, 128), nn.ReLU())
        self.fusion = nn.Sequential(
            nn.Linear(640, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(128, places),
        )  # fmt: skip

    def forward(self, images: Tensor, table: Tensor) -> Tensor:
        """Logits (B, places)."""
        with torch.no_grad():
            seen = self.backbone(images)
        return self.fusion(torch.cat([seen, self.table(table)], dim=1))


def epoch(network: Network, paths: list[Path], table: Tensor, places: Tensor, batch: int = 32) -> None:
    """Learn from every row once, each picture read and encoded again."""
    optimiser = torch.optim.Adam(list(network.table.parameters()) + list(network.fusion.parameters()), lr=1e-3)
    network.table.train()
    network.fusion.train()
    for rows in torch.split(torch.randperm(len(paths)), batch):
        images = torch.stack([load(paths[row]) for row in rows.tolist()])
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(images, table[rows]), places[rows])
        loss.backward()
        optimiser.step()


def forecast(network: Network, snapshot: Snapshot, driver: str, table: Tensor, path: Path) -> Tensor:
    """From laps to one driver's probabilities: draw, write, read, encode, fuse."""
    draw(laps_of(snapshot), driver, path)
    network.eval()
    with torch.no_grad():
        return torch.softmax(network(load(path)[None], table[None]), dim=1)[0]
