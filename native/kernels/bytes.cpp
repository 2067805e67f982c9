// Values of bytes, whatever is computed of them: their tables, sums and products; and what the headers beside have.
#include "byte_planes.h"
#include "byte_pools.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVX512VBMI__)

// What the table has for 64 bytes: each half of it is a permute of two vectors, and the bytes' highest bits choose.
struct Table {
    __m512i parts[4];

    explicit Table(const uint8_t* table) {
        for (size_t i = 0; i < 4; i++) parts[i] = _mm512_loadu_si512(table + i * 64);
    }
    ALWAYS_INLINE void look_up(const uint8_t* x, size_t count, uint8_t* y) const {
        for (size_t at = 0; at < count; at += 64) {
            const size_t left = count - at;
            const __mmask64 wanted = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
            const __m512i bytes = _mm512_maskz_loadu_epi8(wanted, x + at);
            const __m512i low = _mm512_permutex2var_epi8(parts[0], bytes, parts[1]);
            const __m512i high = _mm512_permutex2var_epi8(parts[2], bytes, parts[3]);
            _mm512_mask_storeu_epi8(y + at, wanted, _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high));
        }
    }
};

#else

struct Table {
    const uint8_t* table;

    explicit Table(const uint8_t* table) : table(table) {}
    ALWAYS_INLINE void look_up(const uint8_t* x, size_t count, uint8_t* y) const {
        for (size_t i = 0; i < count; i++) y[i] = table[x[i]];
    }
};

#endif

void look_up(const uint8_t* table, const uint8_t* x, size_t rows, size_t columns, uint8_t* y, size_t y_stride) {
    if (!table) {
        for (size_t row = 0; row < rows; row++) std::memcpy(y + row * y_stride, x + row * columns, columns);
        return;
    }
    const Table found(table);
    for (size_t row = 0; row < rows; row++) found.look_up(x + row * columns, columns, y + row * y_stride);
}

ALWAYS_INLINE Vector steps_of(const ByteOperand& operand, size_t at) {
    return __builtin_convertvector(wholes_of(operand.x + at) - operand.zero, Vector) * operand.step;
}

void add(const ByteOperand& left, const ByteOperand& right, const ByteEnding& ending, size_t count, uint8_t* y) {
    store_ended(ending, count, y, [&](size_t at) __attribute__((always_inline)) {
        return steps_of(left, at) + steps_of(right, at);
    });
}

void scale(const uint8_t* x, int32_t zero, const float* factors, const ByteEnding& ending, size_t pixels,
           size_t channels, uint8_t* y) {
    for (; pixels > 0; pixels--, x += channels, y += channels)
        store_ended(ending, channels, y, [&](size_t at) __attribute__((always_inline)) {
            return __builtin_convertvector(wholes_of(x + at) - zero, Vector) * load(factors + at);
        });
}

}  // namespace

const ByteKernels byte_kernels{quantize, dequantize, look_up, add, scale, max_pool, average_pool};

}  // namespace sparbor::SPARBOR_KERNELS
