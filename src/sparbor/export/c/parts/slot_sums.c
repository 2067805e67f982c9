/* The sums of 16 neurons, and a slot added to them: the half in each neuron's word times the input that it names. */
#ifdef __wasm_simd128__
#include <wasm_simd128.h>

struct slot_sums {
    v128_t of[4];
};

/* Of four words, which come as a vector too. An index is read again from memory: that is quicker than from a lane. */
static v128_t four_products(v128_t wide, const uint16_t *words, const float *from)
{
    const v128_t sign = wasm_i32x4_shl(wasm_v128_and(wide, wasm_i32x4_splat(0x8000)), 16);
    const v128_t rest = wasm_i32x4_shl(wasm_v128_and(wide, wasm_i32x4_splat(0x7fff)), 13);
    const v128_t halves = wasm_f32x4_mul(wasm_v128_or(sign, rest), wasm_f32x4_splat(0x1p112f));
    return wasm_f32x4_mul(halves, wasm_f32x4_make(from[words[0] & 31u], from[words[1] & 31u], from[words[2] & 31u],
                                                  from[words[3] & 31u]));
}

static void add_slot(struct slot_sums *sums, const uint16_t *words, const float *from)
{
    const v128_t low = wasm_v128_load(words), high = wasm_v128_load(words + 8);
    v128_t *of = sums->of;
    of[0] = wasm_f32x4_add(of[0], four_products(wasm_u32x4_extend_low_u16x8(low), words, from));
    of[1] = wasm_f32x4_add(of[1], four_products(wasm_u32x4_extend_high_u16x8(low), words + 4, from));
    of[2] = wasm_f32x4_add(of[2], four_products(wasm_u32x4_extend_low_u16x8(high), words + 8, from));
    of[3] = wasm_f32x4_add(of[3], four_products(wasm_u32x4_extend_high_u16x8(high), words + 12, from));
}
#else
struct slot_sums {
    float of[16];
};

static void add_slot(struct slot_sums *sums, const uint16_t *words, const float *from)
{
    size_t lane;
    for (lane = 0; lane < 16; lane++)
        sums->of[lane] += half_value(words[lane]) * from[words[lane] & 31u];
}
#endif
