// What an operator's `make` is given: where its values lie, and what computes it.
#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "plan/call.h"
#include "plan/value.h"

namespace sparbor {

// A layer as the steps of one operation want it, made once for all sizes. There may be several ways, by number, and what
// was made for other sizes serves no more if `key` is another.
class LaidOut {
public:
    template <class Made, class Make>
    std::shared_ptr<const Made> get(size_t way, uint64_t key, const Make& make) {
        // Whoever finds it locked, perhaps by a thread that a fork left behind, makes one of its own.
        const std::unique_lock lock(making_, std::try_to_lock);
        if (!lock.owns_lock()) return make();
        Slot& slot = ways_.at(way);
        if (!slot.made || slot.key != key) slot = {key, make()};
        return std::static_pointer_cast<const Made>(slot.made);
    }

private:
    struct Slot {
        uint64_t key;
        std::shared_ptr<const void> made;
    };
    std::mutex making_;
    std::array<Slot, 4> ways_{};
};

struct Placement {
    const KernelSet& kernels;
    const std::vector<Value>& x;
    const Value& y;
    LaidOut& layer;
    bool as_stored;  // layers run sparse if they are stored so, whatever is faster
};

}  // namespace sparbor
