"""The kernel sets that tests go over, but for those of 8-bit layers: others have the same kernels for all else."""

from sparbor.engine.runtime import kernel_sets

KERNEL_SETS = [name for name in kernel_sets() if name not in ("avx512vnni", "avx2vnni", "neondot")]
