// The checksum of zlib and of PNG.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sparbor {

// Eight bytes at a time: table k has what a byte becomes that k more bytes follow.
inline uint32_t crc32(const uint8_t* data, size_t size) {
    static const auto tables = [] {
        std::array<std::array<uint32_t, 256>, 8> made{};
        for (uint32_t i = 0; i < 256; i++) {
            made[0][i] = i;
            for (int bit = 0; bit < 8; bit++)
                made[0][i] = made[0][i] & 1 ? made[0][i] >> 1 ^ 0xEDB88320u : made[0][i] >> 1;
        }
        for (size_t k = 1; k < 8; k++)
            for (uint32_t i = 0; i < 256; i++) made[k][i] = made[0][made[k - 1][i] & 255] ^ made[k - 1][i] >> 8;
        return made;
    }();
    uint32_t sum = ~0u;
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t next = 0;
        for (size_t k = 0; k < 4; k++) next ^= tables[7 - k][(sum >> 8 * k & 255) ^ data[k]];
        for (size_t k = 4; k < 8; k++) next ^= tables[7 - k][data[k]];
        sum = next;
    }
    for (; size > 0; data++, size--) sum = tables[0][(sum ^ *data) & 255] ^ sum >> 8;
    return ~sum;
}

}  // namespace sparbor
