"""Composers, one a file: image feature and text feature in, feature of the image that the text asks for out."""

from composeret_jax.composers.combiner import Combiner
from composeret_jax.composers.compose_ae import ComposeAE
from composeret_jax.composers.composer import Composer
from composeret_jax.composers.concat import Concat
from composeret_jax.composers.image_only import ImageOnly
from composeret_jax.composers.real_space_concat_ae import RealSpaceConcatAE
from composeret_jax.composers.rotor import Rotor
from composeret_jax.composers.sum import Sum
from composeret_jax.composers.text_only import TextOnly
from composeret_jax.composers.tirg import Tirg
from composeret_jax.composers.tirg_last_conv import TirgLastConv

COMPOSERS: dict[str, type[Composer]] = {
  "compose_ae": ComposeAE,
  "rotor": Rotor,
  "tirg": Tirg,
  "tirg_last_conv": TirgLastConv,
  "real_space_concat_ae": RealSpaceConcatAE,
  "combiner": Combiner,
  "concat": Concat,
  "sum": Sum,
  "image_only": ImageOnly,
  "text_only": TextOnly,
}
