"""Programs as XLA prints them, with what they send counted by hand."""

import pytest

from composeret_jax.training.planning.collectives import collectives, Sent

LOOP = """HloModule step

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %sum = f32[8]{0:T(128)} all-reduce(%x), channel_id=1, to_apply=%add
  ROOT %next = (s32[], f32[8]) tuple(%i, %sum)
}

%condition (state: (s32[], f32[8])) -> pred[] {
  %last = s32[]{:T(128)} constant(5)
  ROOT %less = pred[] compare(%i, %last), direction=LT
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %loop = (s32[], f32[8]) while(%start), condition=%condition, body=%body
  %once = (bf16[2,3]{1,0}, pred[4]) all-reduce(%a, %b), channel_id=2, to_apply=%add
}
"""


def program(*instructions):
  return "\n".join(["ENTRY %main (x: f32[8]) -> f32[8] {", *(f"  {line}" for line in instructions), "}"])


def test_a_collective_in_a_loop_counts_in_each_iteration():
  assert collectives(LOOP, 4) == {"all-reduce": Sent(5 + 1, 5 * 8 * 4 + 2 * 3 * 2 + 4)}


def test_a_cpus_loop_tells_its_iterations_beside_it():
  loop = LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}')
  assert collectives(loop, 4)["all-reduce"].count == 7 + 1


def test_copies_of_a_computation_have_one_channel():
  copies = LOOP.replace("channel_id=1", "channel_id=2").replace("(bf16[2,3]{1,0}, pred[4])", "f32[8]")
  assert collectives(copies, 4)["all-reduce"].count in (1, 5)


def test_collectives_of_shard_map_share_channel_1_and_count_apart():
  gathers = program("%g = f32[32]{0} all-gather(%x), channel_id=1", "%h = f32[32]{0} all-gather(%y), channel_id=1")
  assert collectives(gathers, 4) == {"all-gather": Sent(2, 2 * 128)}


@pytest.mark.parametrize(
  ("instruction", "expected"),
  [
    ("%g = f32[32]{0} all-gather(%x), channel_id=1, dimensions={0}", {"all-gather": Sent(1, 128)}),
    ("%g = (f32[8], f32[32]) all-gather-start(%x), channel_id=1", {"all-gather": Sent(1, 128)}),
    ("%p = (f32[8], f32[8], u32[], u32[]) collective-permute-start(%x)", {"collective-permute": Sent(1, 32)}),
    ("ROOT %s = f32[8]{0} reduce-scatter(%x), channel_id=1", {"reduce-scatter": Sent(1, 4 * 32)}),
    ("%d = f32[32] all-gather-done(%g)", {}),
  ],
)
def test_the_bytes_are_the_results(instruction, expected):
  assert collectives(program(instruction), 4) == expected


def test_what_is_called_is_looked_into():
  called = "%wrapped (x: f32[8]) -> f32[8] {\n  ROOT %r = f32[8] all-reduce(%x), channel_id=3\n}\n"
  entry = program("%s = f32[8] async-start(%x), calls=%wrapped", "%d = f32[8] async-done(%s), calls=%wrapped")
  assert collectives(called + entry, 4) == {"all-reduce": Sent(1, 32)}
