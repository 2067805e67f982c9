// Stops the process when it holds more memory than a file's size allows for.
#pragma once

#include <cstddef>

namespace sparbor::fuzz {

// While one is there, what has been allocated since, less what has been freed, may not exceed so many bytes.
class MemoryBound {
public:
    explicit MemoryBound(size_t most);
    ~MemoryBound();
};

}  // namespace sparbor::fuzz
