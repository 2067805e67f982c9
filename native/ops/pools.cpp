// Windows over each plane: the largest of their numbers, or the mean.
#include "ops/families.h"
#include "ops/outputs.h"
#include "ops/window.h"

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

void check_window_pool(const Node& node) {
    const Window window = window_of(node.settings());
    check_window(node, window);
    const PlaneShape from = plane_shape(node.x()), to = plane_shape(node.y());
    const bool by_itself = window.groups == from.channels && to.channels == from.channels;
    node.require(by_itself && window.upsample[0] == 1 && window.upsample[1] == 1,
                 "it does not pool each channel by itself");
    for (size_t i = 0; i < 4; i++)
        node.require(window.padding[i] >= 0 && 2 * window.padding[i] <= window.kernel[i % 2],
                     "its padding is more than half its kernel, or negative");
    for (size_t axis = 0; axis < 2; axis++)
        if (to.size[axis] != steps(window, from, axis) && to.size[axis] != steps_with_a_last(window, from, axis))
            node.refuse("its outputs are " + pixels_text(window, from) + " pixels");
}

void check_average_pool(const Node& node) {
    check_window_pool(node);
    const int64_t divisor = node.settings().whole("divisor");
    const auto [down, across] = node.settings().pair("dilation");
    if (divisor < 0 || down != 1 || across != 1)
        node.refuse("it averages with divisor " + std::to_string(divisor) + " and dilation (" + std::to_string(down) +
                    ", " + std::to_string(across) + ")");
}

void check_adaptive(const Node& node) {
    const Shape &x = node.x(), &y = node.y();
    node.require(has_planes(x) && x.size() == y.size() && x[0] == y[0] && x[1] == y[1]);
}

double work_of_window(const Node& node) {
    const auto [down, across] = node.settings().pair("kernel");
    return static_cast<double>(numbers_of(node.y())) * static_cast<double>(down * across);
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

std::vector<SettingRule> average_settings() {
    std::vector<SettingRule> rules = window_settings();
    rules.push_back({"include_padding", SettingRule::Type::flag});
    rules.push_back({"divisor", SettingRule::Type::whole});
    return rules;
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
