// What the compiler is told where its own judgement costs kernels their registers.
#pragma once

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
