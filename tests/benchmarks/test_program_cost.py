import jax
import jax.numpy as jnp
import pytest

from benchmarks.program_cost import Cost, program_cost

# An all-reduce of 4 floats before a loop of 3 turns, in which 8 floats are gathered and a call adds 2 integers.
LOOP = """HloModule loop
%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}
%inner (i: s32[2]) -> s32[2] {
  %i = s32[2]{0} parameter(0)
  ROOT %more = s32[2]{0} add(%i, %i)
}
%body (state: (s32[2], f32[4])) -> (s32[2], f32[4]) {
  %state = (s32[2]{0}, f32[4]{0}) parameter(0)
  %number = s32[2]{0} get-tuple-element(%state), index=0
  %rows = f32[4]{0} get-tuple-element(%state), index=1
  %all = f32[8]{0} all-gather(%rows), channel_id=1, dimensions={0}
  %next = s32[2]{0} fusion(%number), kind=kLoop, calls=%inner
  ROOT %result = (s32[2]{0}, f32[4]{0}) tuple(%next, %rows)
}
ENTRY %main (rows: f32[4]) -> f32[4] {
  %rows.1 = f32[4]{0} parameter(0)
  %total = f32[4]{0} all-reduce(%rows.1), channel_id=1, to_apply=%add
  %zero = s32[2]{0} constant({0, 0})
  %first = (s32[2]{0}, f32[4]{0}) tuple(%zero, %total)
  %loop = (s32[2], f32[4]) while(%first), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %out = f32[4]{0} get-tuple-element(%loop), index=1
}
"""


def test_a_loop_counts_in_each_turn_and_its_collectives_are_known():
  assert program_cost(LOOP) == Cost(
    flops=3 * 2, num_collectives=1 + 3, collective_bytes=16 + 3 * 32, collectives_in_loops=1
  )


def test_products_of_a_compiled_loop_are_counted_as_often_as_it_turns():
  def products(left, rights):
    return jax.lax.scan(lambda left, right: (left @ right, None), left, rights)[0]

  compiled = jax.jit(products).lower(jnp.ones((6, 8)), jnp.ones((5, 8, 8))).compile()
  of_products = 5 * 2 * 6 * 8 * 8
  assert program_cost(compiled.as_text()).flops == pytest.approx(of_products, rel=0.02)
  assert compiled.cost_analysis()["flops"] < of_products / 2  # XLA counts one turn


def test_without_loops_operations_are_those_that_xla_counts():
  compiled = jax.jit(lambda a, b: jnp.square(a @ b - 1).sum()).lower(jnp.ones((30, 20)), jnp.ones((20, 40))).compile()
  assert program_cost(compiled.as_text()).flops == pytest.approx(compiled.cost_analysis()["flops"], rel=0.02)
