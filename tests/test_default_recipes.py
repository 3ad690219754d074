"""What a model is trained with where flags say nothing else."""

from configs import fashion200k, fashion_iq, mit_states, recipes


def test_the_rotor_alone_has_a_recipe_of_its_own():
  rotor, published = mit_states.get_config("rotor"), mit_states.get_config("compose_ae")
  assert (rotor.loss, rotor.optimizer, rotor.data.siblings_per_batch) == ("info_nce", "adamw", rotor.batch_size // 4)
  assert (published.loss, published.optimizer, published.data.siblings_per_batch) == (
    "batch_based_classification",
    "sgd",
    0,
  )
  assert fashion_iq.get_config("rotor").data.siblings_per_batch == 0
  assert fashion200k.get_config("rotor").data.dataset in recipes.WITH_SIBLINGS
