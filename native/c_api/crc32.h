// The checksum of zlib and of PNG.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sparbor::model {

inline uint32_t crc32(const uint8_t* data, size_t size) {
    static const auto table = [] {
        std::array<uint32_t, 256> made{};
        for (uint32_t i = 0; i < 256; i++) {
            made[i] = i;
            for (int bit = 0; bit < 8; bit++) made[i] = made[i] & 1 ? made[i] >> 1 ^ 0xEDB88320u : made[i] >> 1;
        }
        return made;
    }();
    uint32_t sum = ~0u;
    for (size_t i = 0; i < size; i++) sum = table[(sum ^ data[i]) & 255] ^ sum >> 8;
    return ~sum;
}

}  // namespace sparbor::model
