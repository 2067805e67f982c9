// What the compiler is told where its own judgement costs kernels their registers.
#pragma once

#define ALWAYS_INLINE inline __attribute__((always_inline))
#ifdef SPARBOR_SANITIZE
#define UNROLL  // a check of every access in every copy takes minutes to compile
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
