"""A step's needs of each device, for people and as JSON."""

from collections.abc import Mapping
import dataclasses

from composeret_jax.training.planning.collectives import Sent

GIB, MIB = 2**30, 2**20


@dataclasses.dataclass(frozen=True)
class Report:
  """One compiled step. Numbers are of one device and one step; those that cannot be known are None.

  Attributes:
    devices: the slice that was asked for, or the kind of the devices that are there.
    memory_bytes_per_device: what a program can have there.
    parameter_bytes_per_device: of the trained parameters, which are part of the state.
    state_bytes_per_device: parameters, statistics, optimiser, averages, frozen tables and mined negatives.
    batch_bytes_per_device: the batches of one call, and training images that are held there.
    activation_bytes_per_device: what the step holds beside them for a time.
    peak_bytes_per_device: the most that is held at one time.
    fits: whether that is no more than the memory.
    problem: the compiler's words where the step does not fit.
    flops_per_device: every iteration of a loop counts.
    read_and_written_bytes_per_device: the body of a loop counts once.
    estimated_seconds: the compiler's estimate, longer by the FLOPs of the iterations that the compiler does not count.
    model_share_of_peak: the model's FLOPs in that time as a share of what the device can do.
    collectives: by kind.
  """

  devices: str
  num_devices: int
  batch_size: int
  parallel: str
  num_parameters: int
  memory_bytes_per_device: int
  parameter_bytes_per_device: int
  state_bytes_per_device: int
  batch_bytes_per_device: int
  fits: bool
  activation_bytes_per_device: int | None = None
  peak_bytes_per_device: int | None = None
  flops_per_device: float | None = None
  read_and_written_bytes_per_device: float | None = None
  collective_bytes_per_device: int | None = None
  collectives: Mapping[str, Sent] = dataclasses.field(default_factory=dict)
  estimated_seconds: float | None = None
  model_share_of_peak: float | None = None
  problem: str = ""

  def as_text(self) -> str:
    """A line for each number that is known."""
    sent = [f"  {kind}: {it.count:,}, {_size(it.num_bytes)}" for kind, it in self.collectives.items()]
    share, seconds = self.model_share_of_peak, self.estimated_seconds
    lines = [
      f"{self.num_devices:,} devices ({self.devices}), batch {self.batch_size:,}, {self.parallel}; on each device:",
      f"parameters {_size(self.parameter_bytes_per_device)} (of {self.num_parameters:,} in all)",
      f"state {_size(self.state_bytes_per_device)}, parameters included",
      f"batches and images {_size(self.batch_bytes_per_device)}",
      f"activations and gradients {_size(self.activation_bytes_per_device)}",
      self.peak_as_text(),
      f"FLOPs {_large(self.flops_per_device)}, bytes read and written {_size(self.read_and_written_bytes_per_device)}",
      f"collectives {_size(self.collective_bytes_per_device)}",
      *sent,
      f"the compiler's estimate of a step: {'unknown' if seconds is None else f'{seconds:.3g} s'}",
      f"the model's share of the peak FLOP/s in that time: {'unknown' if share is None else f'{share:.1%}'}",
      f"It {'fits' if self.fits else 'does not fit'}{f': {self.problem}' if self.problem else '.'}",
    ]
    return "\n".join(lines)

  def peak_as_text(self) -> str:
    """The memory that the step needs at once, and what there is."""
    return f"peak {_size(self.peak_bytes_per_device)} of {_size(self.memory_bytes_per_device)}"


def _size(num_bytes: int | float | None) -> str:
  if num_bytes is None:
    return "unknown"
  return f"{num_bytes / GIB:.2f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.4g} MiB"


def _large(number: int | float | None) -> str:
  return "unknown" if number is None else f"{number:.4g}"
