from composeret_jax.training.reports.compile_times import announcement, FILE, remember


def test_the_wait_of_last_time_is_announced_for_the_same_kind_of_step(config, tmp_path):
  config.data.prepared_dir = str(tmp_path)
  assert "about" not in announcement(config)
  remember(config, 41.7)
  assert announcement(config).startswith("Compiling the train step (about 42 s): ")
  remember(config, 12.2)
  assert "(about 12 s)" in announcement(config)
  config.batch_size *= 2
  assert "about" not in announcement(config)


def test_a_damaged_file_announces_nothing(config, tmp_path):
  config.data.prepared_dir = str(tmp_path)
  for content in ("{", "[1]", '{"a": "b"}'):
    (tmp_path / FILE).write_text(content)
    assert "about" not in announcement(config)
  remember(config, 5.0)
  assert "(about 5 s)" in announcement(config)
