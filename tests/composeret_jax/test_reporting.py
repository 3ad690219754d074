from composeret_jax.reporting import recall_table


def test_a_line_for_each_part_of_each_half():
  metrics = {
    "R@1": 0.125,
    "R@10": 0.5,
    "noun/R@1": 0.25,
    "noun/R@10": 1.0,
    "image_only/R@1": 0.0,
    "image_only/R@10": 0.1,
  }
  assert recall_table(metrics).splitlines() == [
    "                           R@1    R@10",
    "composed                  12.5    50.0",
    "composed noun             25.0   100.0",
    "image only                 0.0    10.0",
  ]


def test_the_columns_are_those_of_the_protocol_and_the_headline_stands_below():
  metrics = {
    "dress/R@10": 0.25,
    "dress/R@50": 0.5,
    "headline": 0.375,
    "text_only/headline": 0.2,
    "num_missing_images": 3,
  }
  assert recall_table(metrics).splitlines() == [
    "                          R@10    R@50",
    "composed dress            25.0    50.0",
    "composed headline         37.5",
    "text only headline        20.0",
  ]
