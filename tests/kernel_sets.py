"""The kernel sets that tests go over, but for those of 8-bit layers: others have the same kernels for all else."""

from sparbor.engine.runtime import kernel_sets

WITH_BYTE_DOTS = ("avx512vnni", "avx2vnni", "neondot")
KERNEL_SETS = [name for name in kernel_sets() if name not in WITH_BYTE_DOTS]

# Whether the processor has dot products of bytes. Where it has none, ONNX Runtime adds products of bytes up in 16 bits,
# where they may not have room; without its optimizations it computes with floats.
BYTE_DOTS = any(name in WITH_BYTE_DOTS for name in kernel_sets())
