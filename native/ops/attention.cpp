// Attention: softmax(q kᵀ · scale + mask) v, for each item and each head.
#include <atomic>

#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

constexpr size_t most_queries = 64;  // of a block, in any kernel set
constexpr float hidden_below = -1e37f;
enum Input : size_t { q, k, v, mask };

// A value of shape (items, heads, tokens, features), or a mask, whose dimensions of 1 are as if repeated.
struct Heads {
    size_t offset;  // in bytes
    size_t item, head, token;  // strides, in numbers

    explicit Heads(const Value& value) : offset(value.offset) {
        const auto stride = [&](size_t dimension) {
            return value.shape[dimension] == 1 ? 0 : value.strides[dimension];
        };
        item = stride(0);
        head = stride(1);
        token = stride(2);
    }

    size_t at(size_t i, size_t h, size_t t) const { return i * item + h * head + t * token; }
};

// How many numbers there are up to the last one that is shown. The compiler makes vectors of what is done to a block.
template <class T, class IsShown>
size_t last_shown(const T* row, size_t count, const IsShown& is_shown) {
    constexpr size_t block = 64;
    while (count > 0) {
        const size_t first = (count - 1) / block * block;
        bool any = false;
        for (size_t i = first; i < count; i++) any |= is_shown(row[i]);
        if (any) break;
        count = first;
    }
    while (count > 0 && !is_shown(row[count - 1])) count--;
    return count;
}

MaskType type_of_mask(const std::vector<Value>& x) {
    if (x.size() <= mask) return MaskType::none;
    return x[mask].type == Number::boolean ? MaskType::flags : MaskType::floats;
}

class AttentionStep final : public Step {
public:
    AttentionStep(const std::vector<Value>& x, const Value& y, const Attention& kernel, float scale, bool causal)
        : kernel_(kernel), q_(x[q]), k_(x[k]), v_(x[v]), y_(y), mask_(x.size() > mask ? Heads(x[mask]) : Heads(x[q])),
          mask_type_(type_of_mask(x)), one_key_(x.size() > mask && x[mask].shape[3] == 1), items_(y.shape[0]),
          heads_(y.shape[1]), tokens_(y.shape[2]), key_heads_(x[k].shape[1]), keys_(x[k].shape[2]),
          depth_(x[k].shape[3]), value_depth_(y.shape[3]), scale_(scale), causal_(causal) {}

    void run(const Call& call) const override {
        // The heads that share their keys are as if they were further queries.
        const size_t queries = heads_ / key_heads_ * tokens_, blocks = ceil_div(queries, kernel_.queries);
        const double work = static_cast<double>(items_ * heads_ * tokens_) *
                            static_cast<double>(keys_ * (depth_ + value_depth_)) / 50;
        std::vector<std::atomic<bool>> seen(mask_type_ == MaskType::none ? 0 : items_);
        call.split(items_ * key_heads_ * blocks, work, [&](size_t first, size_t last, size_t thread) {
            for (size_t i = first; i < last; i++) {
                const size_t item = i / blocks / key_heads_, begin = i % blocks * kernel_.queries;
                const bool any = attend(call, item, i / blocks % key_heads_, begin,
                                        std::min(queries - begin, kernel_.queries), call.scratch(thread));
                if (any && !seen.empty()) seen[item].store(true, std::memory_order_relaxed);
            }
        });
        for (size_t item = 0; item < seen.size(); item++)
            if (!seen[item])
                throw Refused("attention: the mask hides all keys of item " + std::to_string(call.first_item + item),
                              "let each item see one key at least");
    }

    size_t scratch_floats() const override { return kernel_.scratch_floats(depth_, value_depth_); }

private:
    // Queries from `begin` on of the heads that share one of keys; whether any of them sees any.
    bool attend(const Call& call, size_t item, size_t key_head, size_t begin, size_t count, float* scratch) const {
        const float *q[most_queries], *const k = at<const float>(call, k_, k_.at(item, key_head, 0));
        float* y[most_queries];
        const void* mask[most_queries] = {};
        size_t seen[most_queries];
        for (size_t i = 0; i < count; i++) {
            const size_t head = key_head * (heads_ / key_heads_) + (begin + i) / tokens_;
            const size_t token = (begin + i) % tokens_;
            q[i] = at<const float>(call, q_, q_.at(item, head, token));
            y[i] = at<float>(call, y_, y_.at(item, head, token));
            seen[i] = seen_by(token);
            if (mask_type_ == MaskType::none) continue;
            mask[i] = call.memory() + mask_.offset + mask_.at(item, head, token) * mask_bytes();
            if (i > 0 && mask[i] == mask[i - 1] && !causal_) seen[i] = seen[i - 1];  // often all have one row
            else if (!one_key_) seen[i] = shown_by(mask[i], seen[i]);
            else if (hides(mask[i])) seen[i] = 0;
        }
        const float* const v = at<const float>(call, v_, v_.at(item, key_head, 0));
        // A mask with one number for all keys hides all or changes nothing.
        return kernel_.run({count, depth_, value_depth_, q, k, k_.token, v, v_.token, seen, scale_,
                            one_key_ ? MaskType::none : mask_type_, mask, y, scratch});
    }

    size_t mask_bytes() const { return mask_type_ == MaskType::flags ? sizeof(uint8_t) : sizeof(float); }

    bool hides(const void* number) const {
        if (mask_type_ == MaskType::flags) return *static_cast<const uint8_t*>(number) == 0;
        return *static_cast<const float*>(number) < hidden_below;
    }

    // How many of the first keys there are up to the last one that the mask shows: a cache has room for many more.
    size_t shown_by(const void* row, size_t keys) const {
        if (mask_type_ == MaskType::flags)
            return last_shown(static_cast<const uint8_t*>(row), keys, [](uint8_t flag) { return flag != 0; });
        return last_shown(static_cast<const float*>(row), keys, [](float score) { return !(score < hidden_below); });
    }

    template <class T>
    static T* at(const Call& call, const Heads& heads, size_t number) {
        return reinterpret_cast<T*>(call.memory() + heads.offset) + number;
    }

    size_t seen_by(size_t token) const {
        if (!causal_) return keys_;
        const size_t last = token + keys_;  // and tokens_ less
        return last < tokens_ ? 0 : std::min(keys_, last - tokens_ + 1);
    }

    const Attention& kernel_;
    Heads q_, k_, v_, y_, mask_;
    MaskType mask_type_;
    bool one_key_;
    size_t items_, heads_, tokens_, key_heads_, keys_, depth_, value_depth_;
    float scale_;
    bool causal_;
};

bool divides(uint64_t part, uint64_t whole) { return part > 0 && whole % part == 0; }

void check_mask(const Node& node) {
    const Shape& to = node.x(mask);
    const Shape whole = {node.y()[0], node.y()[1], node.y()[2], node.x(k)[2]};
    node.require(node.x_type(mask) == Number::f32 || node.x_type(mask) == Number::boolean,
                 "its mask is neither bool nor f32");
    node.require(to.size() == whole.size(), "its mask has not four dimensions");
    for (size_t i = 0; i < whole.size(); i++)
        node.require(to[i] == whole[i] || to[i] == 1, "a dimension of its mask is neither equal nor 1");
}

void check(const Node& node) {
    node.require(node.inputs() == 3 || node.inputs() == 4, "it has a query, a key, a value and perhaps a mask");
    for (const Input each : {q, k, v}) {
        node.require(node.x_type(each) == Number::f32, "its inputs are not all f32");
        node.require(node.x(each).size() == 4, "an input has not four dimensions: items, heads, tokens, features");
    }
    node.require(node.y_type() == Number::f32, "its output is not f32");
    const Shape &query = node.x(q), &key = node.x(k), &value = node.x(v);
    node.require(key[0] == query[0] && value[0] == query[0], "there are not as many items");
    node.require(divides(key[1], query[1]) && value[1] == key[1], "the heads of keys do not divide those of queries");
    node.require(key[2] == value[2], "there are not as many values as keys");
    node.require(key[3] == query[3], "a key is not as long as a query");
    node.require(node.y() == Shape{query[0], query[1], query[2], value[3]});
    if (node.inputs() > mask) check_mask(node);
}

double work(const Node& node) {
    const Shape &query = node.x(q), &value = node.x(v);
    const double scores = static_cast<double>(numbers_of({query[0], query[1], query[2]})) * static_cast<double>(value[2]);
    return scores * (static_cast<double>(query[3]) + static_cast<double>(value[3]));
}

std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    return std::make_unique<AttentionStep>(at.x, at.y, *at.kernels.attention, node.settings().number("scale"),
                                           node.settings().flag("causal"));
}

}  // namespace

const std::vector<OperatorType>& attention_operators() {
    using Type = SettingRule::Type;
    const std::vector<SettingRule> settings = {{"scale", Type::number}, {"causal", Type::flag}};
    static const std::vector<OperatorType> types = {
        {"attention", {3, 4}, Has::no, Has::no, settings, Takes::any, Lies::heads, Aliasing::none, check, work, no_layout,
         make},
    };
    return types;
}

}  // namespace sparbor
