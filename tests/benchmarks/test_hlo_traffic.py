"""Bytes counted by hand for a program's text, and for a program."""

import jax
import jax.numpy as jnp

from benchmarks.hlo_traffic import traffic

HLO_TEXT = """HloModule jit_f

%fused (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %add.1 = f32[8]{0} add(%p, %p)
}

ENTRY %main (a: bf16[4,8], b: f32[8]) -> f32[8] {
  %a = bf16[4,8]{1,0} parameter(0)
  %b = f32[8]{0} parameter(1)
  %conv.2 = (bf16[4,2]{1,0}, u8[1000]{0}) custom-call(%a, %b), custom_call_target="__cudnn$convForward"
  %loop_add_fusion.3 = (f32[8]{0}, bf16[4,8]{1,0}) fusion(%b, %a, %b), kind=kLoop, calls=%fused
  ROOT %out = f32[8]{0} get-tuple-element(%loop_add_fusion.3), index=0
}
"""


def test_operands_count_once_with_the_results_and_workspaces_do_not():
  found = traffic(HLO_TEXT)
  assert found["conv.2"] == 64 + 32 + 16
  assert found["loop_add_fusion.3"] == (64 + 32) + (32 + 64)
  assert found["add.1"] == 32 + 32


def test_a_product_of_a_compiled_program():
  text = jax.jit(lambda a, b: a @ b).lower(jnp.ones((30, 40)), jnp.ones((40, 50))).compile().as_text()
  assert 4 * (30 * 40 + 40 * 50 + 30 * 50) in traffic(text).values()
