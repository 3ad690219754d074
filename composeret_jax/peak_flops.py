"""What devices can do at most, for the share of it that training reaches."""

import jax

# Dense FLOP/s of one device (bfloat16, float32) by jax's device_kind, as makers state them; sparsity would double most.
# float32 is what JAX does with it by default: TF32 on GPUs that have it, bfloat16 products on TPUs.
# None: no such units. All are looked up, A100, H100 PCIe, H200 and L4 in pages that quote the data sheets, but for
# the V100 PCIe, which is still to be checked.
PEAK_FLOPS = {
  # NVIDIA A100 data sheet: TF32 156, BF16 312 TFLOPS.
  "NVIDIA A100-SXM4-40GB": (312e12, 156e12),
  "NVIDIA A100-SXM4-80GB": (312e12, 156e12),
  "NVIDIA A100-PCIE-40GB": (312e12, 156e12),
  "NVIDIA A100 80GB PCIe": (312e12, 156e12),
  # NVIDIA H100 Tensor Core GPU Architecture white paper: SXM5 and PCIe, without sparsity.
  "NVIDIA H100 80GB HBM3": (989.4e12, 494.7e12),
  "NVIDIA H100 PCIe": (756e12, 378e12),
  # NVIDIA H200 data sheet: SXM, the same as the H100's.
  "NVIDIA H200": (989.4e12, 494.7e12),
  # NVIDIA L4 data sheet: half of the figures with sparsity, TF32 120 and BF16 242 TFLOPS.
  "NVIDIA L4": (121e12, 60e12),
  # NVIDIA V100 data sheet: single precision 15.7 (SXM2) and 14 (PCIe) TFLOPS.
  "Tesla V100-SXM2-16GB": (None, 15.7e12),
  "Tesla V100-SXM2-32GB": (None, 15.7e12),
  "Tesla V100-PCIE-16GB": (None, 14e12),
  "Tesla V100-PCIE-32GB": (None, 14e12),
  # NVIDIA T4 data sheet: single precision 8.1 TFLOPS.
  "Tesla T4": (None, 8.1e12),
  # Google Cloud TPU documentation, one page a version: peak compute per chip (bf16).
  "TPU v4": (275e12, 275e12),
  "TPU v5 lite": (197e12, 197e12),
  "TPU v5e": (197e12, 197e12),
  "TPU v5": (459e12, 459e12),
  "TPU v5p": (459e12, 459e12),
  "TPU v6 lite": (918e12, 918e12),
  "TPU v6e": (918e12, 918e12),
}


def peak_flops(dtype: str, per_device: float) -> float | None:
  """FLOP/s of all devices of the job, `per_device` each, or what the table says for `dtype` where that is 0.

  `dtype` is "bfloat16" or "float32". None for a device that the table does not have.
  """
  bfloat16, float32 = PEAK_FLOPS.get(jax.devices()[0].device_kind, (None, None))
  known = per_device or {"bfloat16": bfloat16, "float32": float32}[dtype]
  return known * jax.device_count() if known else None
