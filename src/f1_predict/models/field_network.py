"""A set-attention network over all cars of a race at a cut: table and picture in, one coherent matrix out.

Knows tensors only: nothing of races, files or training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from f1_predict.config import FieldConfig
from f1_predict.errors import ConfigError, FeatureError, PictureError

MASKED = -1e4
"""Log-probability of what cannot be: its exponential is exactly 0 in float32, and unlike -inf it has a gradient."""
_ROUNDING = 1e-6
"""Relative spread of a float32 channel that is constant: to divide by it would turn rounding into a signal."""
_WAVES = 12
"""Cosines of the relative place that describe a place."""
_REACH = (1.0, 2.0, 4.0, 8.0)
"""Places over which the description of a place fades with its distance from the front, and from the back."""
_PLACE = _WAVES + 2 * len(_REACH) + 2
"""Numbers that describe a place."""
_RANKINGS = 4
"""Orders of the field that the network makes for itself."""
_STEEPNESS = 4.0
"""Factor of the scores they are made by: with scores all about 0, a new network would count nothing."""


class FieldOutput(NamedTuple):
    """What the network says of B fields of up to N cars.

    Attributes:
        position: float32 (B, N, N), log-probability of car i (row) at place p = column + 1. The rows of present cars
            sum to 1 over the places 1..n of their field, its columns nearly so; everything else is about MASKED.
        finish: float32 (B, N), logits of being classified.
    """

    position: Tensor
    finish: Tensor


class FieldNetwork(nn.Module):
    """Attention over the cars of a field, and a car x place matrix balanced to be doubly stochastic.

    A car is one vector, from its row of the table and a narrow projection of its picture's embedding. Layers of
    self-attention let the cars see each other, as a set: M. Zaheer et al., "Deep Sets", NeurIPS (2017), J. Lee et
    al., "Set Transformer", ICML (2019). Places are vectors too, made from p / n and p by a small network, so a field
    may have a size never trained on. The products of cars and places are balanced in logarithms by a fixed number
    of rounds of R. Sinkhorn and P. Knopp, Pacific J. Math. 21 (1967), which is differentiated through as in G. Mena
    et al., "Learning latent permutations with Gumbel-Sinkhorn networks", ICLR (2018).

    The order of the cars does not matter, nor does what absent cars (padding) hold. A missing picture is the zero
    vector in place of the projection, with a flag; what the masked row held does not matter.

    Shape:
        tabular (B, N, F), embeddings (B, N, E), has_image (B, N), present (B, N) -> (B, N, N) and (B, N).

    Args:
        tabular_dim: F, 1 or more.
        image_dim: E, width of the embeddings.
        config: widths, layers, dropout, rounds of balancing.

    Raises:
        ConfigError: if a width is less than 1.

    Example:
        >>> network = FieldNetwork(3, 512, FieldConfig()).eval()
        >>> cars = torch.ones(1, 20, dtype=torch.bool)
        >>> network(torch.zeros(1, 20, 3), None, ~cars, cars).position.detach().exp().sum(2).round(decimals=4)[0, :2]
        tensor([1., 1.])
    """

    image_mean: Tensor
    image_scale: Tensor

    def __init__(self, tabular_dim: int, image_dim: int, config: FieldConfig) -> None:
        super().__init__()
        for name, size in (("tabular_dim", tabular_dim), ("image_dim", image_dim)):
            if size < 1:
                raise ConfigError(f"{name} must be at least 1, got {size}.")
        self.tabular_dim, self.image_dim = tabular_dim, image_dim
        self._rounds = config.sinkhorn_rounds
        self._image_width = config.image_width
        width = config.width
        self.picture = nn.Sequential(nn.Dropout(config.image_dropout), nn.Linear(image_dim, config.image_width))
        # The flag of a picture, and the field's size: no car's row says it unless a feature does.
        self.car = nn.Sequential(
            nn.Linear(tabular_dim + config.image_width + 2, 2 * width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * width, width),
        )
        self.strength = nn.Linear(width, _RANKINGS)
        self.rank = nn.Linear(_RANKINGS * _PLACE, width)
        self.layers = nn.ModuleList(_Attention(width, config.heads, config.dropout) for _ in range(config.layers))
        self.out = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.place = nn.Sequential(nn.Linear(_PLACE, width), nn.GELU(), nn.Linear(width, width))
        self.finish = nn.Linear(width, 1)
        self.register_buffer("image_mean", torch.zeros(image_dim))
        self.register_buffer("image_scale", torch.ones(image_dim))

    def set_image_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise embeddings with these, each (E,); a channel without spread is 0 from now on."""
        constant = std <= _ROUNDING * mean.abs()
        self.image_mean.copy_(mean)
        self.image_scale.copy_(torch.where(constant, 0.0, 1.0 / torch.where(constant, 1.0, std)))

    def ignore_pictures(self) -> None:
        """Give pictures, and whether there is one, no weight: for a fit that sees none, and leaves it so.

        Their weights would stay as they were drawn, and move forecasts when pictures are shown later.
        """
        with torch.no_grad():
            weight = self.car.get_parameter("0.weight")
            weight[:, self.tabular_dim : self.tabular_dim + self._image_width + 1] = 0.0

    def forward(self, tabular: Tensor, embeddings: Tensor | None, has_image: Tensor, present: Tensor) -> FieldOutput:
        """Forecast B fields.

        Args:
            tabular: float32 (B, N, F), standardised and finite.
            embeddings: float32 (B, N, E), or None: no car has a picture.
            has_image: bool (B, N), False where a car has no picture; ignored without embeddings.
            present: bool (B, N), False where there is no car (padding, anywhere in the row).

        Raises:
            FeatureError, PictureError: if a shape is not as above.
        """
        self._check(tabular, embeddings, has_image, present)
        sizes = present.sum(1)
        flags, pictures = self._pictures(embeddings, has_image & present)
        size = (sizes.to(tabular.dtype) / 20.0 - 1.0)[:, None, None].expand(*present.shape, 1)
        table = torch.where(present[..., None], tabular, 0.0)
        cars: Tensor = self.car(torch.cat([table, pictures, flags, size], dim=2))
        cars = cars + self._ranked(cars, present, sizes)
        bias = torch.where(present, 0.0, MASKED)[:, None, None, :]
        for layer in self.layers:
            cars = layer(cars, bias)
        cars = self.out(cars)
        scores = self.query(cars) @ self._places(sizes, present.shape[1]).transpose(1, 2) / math.sqrt(cars.shape[2])
        return FieldOutput(self._balance(scores, present, sizes), self.finish(cars)[..., 0])

    def _pictures(self, embeddings: Tensor | None, has_image: Tensor) -> tuple[Tensor, Tensor]:
        """Flags (B, N, 1) and projections (B, N, image_width), both zero without a picture."""
        width = self._image_width
        if embeddings is None:
            return self.image_mean.new_zeros(*has_image.shape, 1), self.image_mean.new_zeros(*has_image.shape, width)
        shown = (embeddings[has_image] - self.image_mean) * self.image_scale  # only those: most cuts have none
        projected = self.image_mean.new_zeros(*has_image.shape, width)
        projected[has_image] = self.picture(shown)
        return has_image[..., None].to(projected.dtype), projected

    def _places(self, sizes: Tensor, count: int) -> Tensor:
        """Vectors of the places 1..count of fields of these sizes: (B, count, width)."""
        different, which = torch.unique(sizes, return_inverse=True)
        place = torch.arange(1, count + 1, device=sizes.device, dtype=self.image_mean.dtype)
        vectors: Tensor = self.place(_describe(place.expand(len(different), -1), different.to(place.dtype)[:, None]))
        return vectors[which]

    def _ranked(self, cars: Tensor, present: Tensor, sizes: Tensor) -> Tensor:
        """Where each car stands by some scores, described as places are: (B, N, width).

        The place by a score is 1/2 + the sum over all cars of sigmoid(their score - own): counting is what a few
        layers of averaging do badly, and late in a race the running order is most of the forecast.
        """
        strength = _STEEPNESS * self.strength(cars).transpose(1, 2)
        beats = torch.sigmoid(strength[:, :, None, :] - strength[:, :, :, None]) * present[:, None, None, :]
        place = (0.5 + beats.sum(3)).transpose(1, 2)
        described = _describe(place, sizes.to(place.dtype)[:, None, None])
        ranked: Tensor = self.rank(described.flatten(2))
        return ranked

    def _balance(self, scores: Tensor, present: Tensor, sizes: Tensor) -> Tensor:
        """Sinkhorn-Knopp in logarithms; ends with the rows, which then sum to 1."""
        exists = torch.arange(present.shape[1], device=sizes.device)[None, :] < sizes[:, None]
        matrix = torch.where(present[:, :, None] & exists[:, None, :], scores, MASKED)
        for _ in range(self._rounds):
            matrix = matrix - torch.where(exists, torch.logsumexp(matrix, dim=1), 0.0)[:, None, :]
            matrix = matrix - torch.where(present, torch.logsumexp(matrix, dim=2), 0.0)[:, :, None]
        return matrix

    def _check(self, tabular: Tensor, embeddings: Tensor | None, has_image: Tensor, present: Tensor) -> None:
        fields, cars = present.shape if present.ndim == 2 else (-1, -1)
        if tabular.shape != (fields, cars, self.tabular_dim):
            raise FeatureError(
                f"tabular must have shape (fields, cars, {self.tabular_dim}) and present (fields, cars), "
                f"got {tuple(tabular.shape)} and {tuple(present.shape)}."
            )
        if has_image.shape != present.shape:
            raise PictureError(f"has_image must have shape {tuple(present.shape)}, got {tuple(has_image.shape)}.")
        if embeddings is not None and embeddings.shape != (fields, cars, self.image_dim):
            raise PictureError(
                f"embeddings must have shape ({fields}, {cars}, {self.image_dim}), got {tuple(embeddings.shape)}."
            )


def averaged(
    networks: Sequence[FieldNetwork], tabular: Tensor, embeddings: Tensor | None, has_image: Tensor, present: Tensor
) -> tuple[Tensor, Tensor]:
    """The mean forecast of some networks; arguments as `FieldNetwork.forward`.

    Returns:
        Probabilities of places float64 (B, N, N), see FieldOutput, and of being classified float64 (B, N).
    """
    outputs = [network(tabular, embeddings, has_image, present) for network in networks]
    position = torch.stack([output.position.double().exp() for output in outputs]).mean(0)
    finish = torch.stack([torch.sigmoid(output.finish.double()) for output in outputs]).mean(0)
    return position, finish


def _describe(place: Tensor, size: Tensor) -> Tensor:
    """Places (...), from 1 and between whole ones too, as numbers (..., _PLACE); `size` of the field expands to it."""
    size = size.clamp(min=1.0).expand_as(place)
    relative = ((place - 0.5) / size).clamp(max=1.0)
    waves = torch.cos(math.pi * relative[..., None] * torch.arange(1, _WAVES + 1, device=place.device))
    reach = place.new_tensor(_REACH)
    front = torch.exp(-(place - 1.0).clamp(min=0.0)[..., None] / reach)
    back = torch.exp(-(size - place).clamp(min=0.0)[..., None] / reach)
    return torch.cat([waves, front, back, place[..., None] / 20.0, size[..., None] / 20.0], dim=-1)


class _Attention(nn.Module):
    """A transformer layer without positions, normalised first: (B, N, width) -> (B, N, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.before_attention, self.before_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inputs, self.outputs = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, cars: Tensor, bias: Tensor) -> Tensor:
        """`bias` (B, 1, 1, N) is added to the attention's logits: MASKED where there is no car."""
        fields, count, width = cars.shape
        parts = self.inputs(self.before_attention(cars)).view(fields, count, 3, self._heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        cars = cars + self.dropout(self.outputs(mixed.transpose(1, 2).reshape(fields, count, width)))
        seen: Tensor = cars + self.dropout(self.dense(self.before_dense(cars)))
        return seen
