// Linear layers, sparse and dense: y = x · W^T + b, row by row.
#include "ops/families.h"
#include "ops/row_product.h"

namespace sparbor {
namespace {

class Linear final : public Step {
public:
    Linear(const Matrix& x, const Matrix& y, std::unique_ptr<RowProduct> product)
        : x_(x), y_(y), product_(std::move(product)) {}

    const char* way() const override { return product_->way(); }

    void run(const Call& call) const override {
        const auto* const given = takes_given_ ? static_cast<const float*>(call.given()) : nullptr;
        const float* const x = given ? given : call.data(x_);
        product_->run(call, {x, given ? x_.columns : x_.stride, call.data(y_), y_.stride, x_.rows});
    }

    size_t scratch_floats() const override { return product_->scratch_floats(); }

    // Of queries, keys and values, which are all computed of the same rows, those become bytes once.
    void comes_after(const Step& before) override {
        const auto* const other = dynamic_cast<const Linear*>(&before);
        if (other && other->x_ == x_ && other->product_->leaves_bytes() && product_->leaves_bytes())
            product_->finds_bytes();
    }

    bool takes_given() override { return takes_given_ = product_->stays_within_rows(); }

private:
    Matrix x_, y_;
    std::unique_ptr<RowProduct> product_;
    bool takes_given_ = false;
};

void check(const Node& node) {
    const Layer& layer = *node.layer();
    check_row_layer(node);
    node.require(!node.x().empty());
    Shape wanted = node.x();
    wanted.back() = layer.outputs;
    node.require(node.x().back() == layer.fan_in && node.y() == wanted);
}

double work(const Node& node) {
    return work_of_rows(node, numbers_of(node.y()) / node.y().back());
}

std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    const Matrix x = rows_of(at.x[0]);
    return std::make_unique<Linear>(x, rows_of(at.y), make_row_product(node, at, x.rows));
}

}  // namespace

const std::vector<OperatorType>& linear_operators() {
    static const std::vector<OperatorType> types = {
        {"linear", 1, Has::yes, Has::maybe, {}, Takes::floats, Lies::rows, Aliasing::none, check, work, layout_of_rows,
         make},
    };
    return types;
}

}  // namespace sparbor
