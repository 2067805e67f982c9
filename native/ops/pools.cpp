// Windows over each plane: the largest of their numbers, or the mean.
#include "ops/families.h"
#include "ops/outputs.h"
#include "ops/pool_window.h"

namespace sparbor {
namespace {

// Pooling of one plane, by `pool(kernels, plane, y)`.
template <class Pool>
class PoolPlanes final : public Step {
public:
    PoolPlanes(const Matrix& x, const Matrix& y, Pool pool) : x_(x), y_(y), pool_(pool) {}

    void run(const Call& call) const override {
        split_rows(call, x_, [&](size_t first, size_t last, size_t) {
            for (size_t row = first; row < last; row++)
                pool_(*call.kernels.pools, call.data(x_) + row * x_.stride, call.data(y_) + row * y_.stride);
        });
    }

private:
    Matrix x_, y_;
    Pool pool_;
};

template <class Pool>
std::unique_ptr<Step> make_pool(const Placement& at, Pool pool) {
    return std::make_unique<PoolPlanes<Pool>>(planes_of(at.x[0]), planes_of(at.y), pool);
}

void check_adaptive(const Node& node) {
    const Shape &x = node.x(), &y = node.y();
    node.require(has_planes(x) && x.size() == y.size() && x[0] == y[0] && x[1] == y[1]);
}

double work_of_adaptive(const Node& node) {
    const PlaneShape x = plane_shape(node.x()), y = plane_shape(node.y());
    const int64_t under = (x.size[0] / y.size[0] + 2) * (x.size[1] / y.size[1] + 2);
    return static_cast<double>(numbers_of(node.y())) * static_cast<double>(under);
}

std::unique_ptr<Step> make_max(const Node& node, const Placement& at) {
    const Geometry planes = geometry_of(node, window_of(node.settings()));
    return make_pool(at, [planes](const Pools& pools, const float* x, float* y) { pools.max_pool(planes, x, y); });
}

std::unique_ptr<Step> make_average(const Node& node, const Placement& at) {
    const Geometry planes = geometry_of(node, window_of(node.settings()));
    const bool with_padding = node.settings().flag("include_padding");
    const auto divisor = static_cast<float>(node.settings().whole("divisor"));
    return make_pool(at, [=](const Pools& pools, const float* x, float* y) {
        pools.average_pool(planes, x, y, with_padding, divisor);
    });
}

// An adaptive pool has no window: where each of its outputs looks follows from the two sizes.
Geometry sizes_alone(const Node& node) { return geometry_of(node, {{1, 1}, {1, 1}, {}, {1, 1}, {1, 1}, 1}); }

std::unique_ptr<Step> make_adaptive_max(const Node& node, const Placement& at) {
    const Geometry planes = sizes_alone(node);
    return make_pool(at, [planes](const Pools& pools, const float* x, float* y) { pools.adaptive_max(planes, x, y); });
}

std::unique_ptr<Step> make_adaptive_average(const Node& node, const Placement& at) {
    const Geometry planes = sizes_alone(node);
    return make_pool(at,
                     [planes](const Pools& pools, const float* x, float* y) { pools.adaptive_average(planes, x, y); });
}

}  // namespace

const std::vector<OperatorType>& pool_operators() {
    constexpr auto none = Aliasing::none;
    constexpr auto floats = Takes::floats;
    constexpr auto planes = Lies::planes;
    static const std::vector<OperatorType> types = {
        {"max_pool", 1, Has::no, Has::no, window_settings(), floats, planes, none, check_window_pool, work_of_window,
         no_layout, make_max},
        {"average_pool", 1, Has::no, Has::no, average_settings(), floats, planes, none, check_average_pool,
         work_of_window, no_layout, make_average},
        {"adaptive_max_pool", 1, Has::no, Has::no, {}, floats, planes, none, check_adaptive, work_of_adaptive,
         no_layout, make_adaptive_max},
        {"adaptive_average_pool", 1, Has::no, Has::no, {}, floats, planes, none, check_adaptive, work_of_adaptive,
         no_layout, make_adaptive_average},
    };
    return types;
}

}  // namespace sparbor
