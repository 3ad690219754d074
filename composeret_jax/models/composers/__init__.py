"""Composers, one a file: image feature and text feature in, feature of the image that the text asks for out."""

from composeret_jax.models.composers.baselines import Concat, ImageOnly, Sum, TextOnly
from composeret_jax.models.composers.combiner import Combiner
from composeret_jax.models.composers.compose_ae import ComposeAE, RealSpaceConcatAE
from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.composers.inversion import LinCir, Pic2Word, Searle
from composeret_jax.models.composers.magic_lens import MagicLens
from composeret_jax.models.composers.rotor import Rotor
from composeret_jax.models.composers.tirg import Tirg, TirgLastConv

COMPOSERS: dict[str, type[Composer]] = {
  "compose_ae": ComposeAE,
  "rotor": Rotor,
  "tirg": Tirg,
  "tirg_last_conv": TirgLastConv,
  "real_space_concat_ae": RealSpaceConcatAE,
  "combiner": Combiner,
  "magic_lens": MagicLens,
  "pic2word": Pic2Word,
  "searle": Searle,
  "lincir": LinCir,
  "concat": Concat,
  "sum": Sum,
  "image_only": ImageOnly,
  "text_only": TextOnly,
}
