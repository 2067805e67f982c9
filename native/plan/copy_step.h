// A step that copies values.
#pragma once

#include "plan/call.h"
#include "plan/strided_copy.h"

namespace sparbor {

class CopyStep final : public Step {
public:
    // Each of `x` to its place in `y`.
    CopyStep(const std::vector<Value>& x, const std::vector<Value>& y) {
        for (size_t i = 0; i < x.size(); i++) copies_.push_back({x[i].offset, y[i].offset, {x[i], y[i]}});
    }

    void run(const Call& call) const override {
        for (const Each& each : copies_)
            call.split(each.copy.units(), each.copy.work(), [&](size_t first, size_t last, size_t) {
                each.copy.run(call.kernels, call.memory() + each.from, call.memory() + each.to, first, last);
            });
    }

private:
    struct Each {
        size_t from, to;
        StridedCopy copy;
    };
    std::vector<Each> copies_;
};

}  // namespace sparbor
