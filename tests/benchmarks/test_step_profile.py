"""The tables of a trace: a real one of a CPU, and one as a GPU writes it."""

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData
import pytest

from benchmarks import step_profile

# Two kernels on a stream, 3 and 1 microseconds, the first of them twice; the same again in a summary's line.
GPU_TRACE = """
planes { name: "/host:CPU" lines { name: "python" events { metadata_id: 1 duration_ps: 9000000 } }
  event_metadata { key: 1 value { id: 1 name: "step" } } }
planes { name: "/device:GPU:0"
  lines { name: "Stream #7(Compute)"
    events { metadata_id: 1 duration_ps: 3000000 stats { metadata_id: 1 str_value: "cudnn-conv-bw-filter.3" } }
    events { metadata_id: 2 offset_ps: 3000000 duration_ps: 1000000 }
    events { metadata_id: 1 offset_ps: 5000000 duration_ps: 3000000
      stats { metadata_id: 1 str_value: "cudnn-conv-bw-filter.3" } } }
  lines { name: "XLA Modules" events { metadata_id: 3 duration_ps: 8000000 } }
  event_metadata { key: 1 value { id: 1 name: "sm90_xmma_wgrad" } }
  event_metadata { key: 2 value { id: 2 name: "loop_add_fusion_5" } }
  event_metadata { key: 3 value { id: 3 name: "jit_train_step" } }
  stat_metadata { key: 1 value { id: 1 name: "hlo_op" } } }
"""
HLO_TEXT = """
  %cudnn-conv-bw-filter.3 = (bf16[3,64]{1,0}, u8[0]{0}) custom-call(%a), metadata={op_name="jit(f)/transpose(jvp(f))/c"}
  ROOT %loop_add_fusion.5 = f32[8,64]{1,0} fusion(%c), kind=kLoop, metadata={op_name="jit(f)/jvp(f)/add"}
"""


@pytest.fixture
def gpu_trace(tmp_path):
  (tmp_path / "host.xplane.pb").write_bytes(ProfileData.text_proto_to_serialized_xspace(GPU_TRACE))
  return tmp_path


def test_a_gpus_kernels_count_once_and_have_their_place_in_the_program(gpu_trace):
  times = step_profile.operation_times(gpu_trace)
  assert times == {"cudnn-conv-bw-filter.3": pytest.approx([3e-6, 3e-6]), "loop_add_fusion_5": pytest.approx([1e-6])}
  first, second = step_profile.longest(times, step_profile.sources(HLO_TEXT), num_steps=2)
  assert first == {
    "operation": "cudnn-conv-bw-filter.3",
    "share": pytest.approx(6 / 7),
    "ms_a_step": pytest.approx(3e-3),
    "result": "(bf16[3,64], u8[0])",
    "place": "jit(f)/transpose(jvp(f))/c",
  }
  assert (second["result"], second["place"]) == ("f32[8,64]", "jit(f)/jvp(f)/add")


def test_kinds_are_summed_within_a_phase():
  times = {"fusion.1": [1.0, 1.0], "fusion.2": [3.0], "fusion": [4.0], "copy": [1.0]}
  places = {"fusion_1": "jit(f)/jvp(f)/add", "fusion_2": "jit(f)/jvp(f)/mul", "fusion": "jit(f)/transpose(jvp(f))/mul"}
  places = {name: step_profile.Source("f32[]", place) for name, place in places.items()}
  rows = step_profile.by_kind(times, places, {"fusion_1": 3 * 10**9, "fusion_2": 10**9}, num_steps=2)
  assert [(row["phase"], row["kind"], row["share"], row["runs_a_step"]) for row in rows] == [
    ("forward", "fusion", 0.5, 1.5),
    ("backward", "fusion", 0.4, 0.5),
    ("other", "copy", 0.1, 0.5),
  ]
  moved = [(row["gb_a_step"], row["tb_per_second"]) for row in rows]
  assert moved == [(pytest.approx(3.5), pytest.approx(7 / 5 / 1e3)), (0, 0), (0, 0)]


def test_a_traced_product_is_found_as_often_as_it_ran(tmp_path):
  program = jax.jit(lambda a: jnp.sin(a @ a)).lower(jnp.ones((600, 600))).compile()
  with jax.profiler.trace(str(tmp_path)):
    for _ in range(3):
      jax.block_until_ready(program(jnp.ones((600, 600))))
  places = step_profile.sources(program.as_text())
  times = step_profile.operation_times(tmp_path)
  runs = {row["place"].split("/")[-1]: len(times[row["operation"]]) for row in step_profile.longest(times, places, 3)}
  assert runs["dot_general"] == 3


def test_a_trace_without_a_devices_operations_is_refused(tmp_path):
  trace = 'planes { name: "/host:CPU" }'
  (tmp_path / "host.xplane.pb").write_bytes(ProfileData.text_proto_to_serialized_xspace(trace))
  with pytest.raises(ValueError, match=r"host\.xplane\.pb: no operation of a device"):
    step_profile.operation_times(tmp_path)
